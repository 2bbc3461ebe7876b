"""What should happen: runbooks, inventories, plans."""
