"""Who allows it: people and their roles, and the decision whether a gate is open."""
