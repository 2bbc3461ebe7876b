"""How a run stands, told by its entries in the log."""
