"""Who may act on a run and its targets, and what brings it to a stand."""
