"""Doing it: executing a frozen plan under a lease, with every intent and outcome in the log."""
