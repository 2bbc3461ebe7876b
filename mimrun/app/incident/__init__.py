"""Declaring incidents, working on them, and looking at them."""
