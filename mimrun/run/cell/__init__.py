"""One step on one target: what it knows, whether it may begin, what becomes of it."""
