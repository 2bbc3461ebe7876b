"""Notices: who is told what waits for them, over which channel, and what came of it."""
