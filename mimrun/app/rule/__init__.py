"""Heeding alerts: what rules notify of, propose and launch."""
