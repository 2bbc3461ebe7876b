"""Which step comes next, on which targets, and how many of them may fail."""
