"""The log room: what happened, in an order that nobody can change unseen."""
