"""Signed approvals: what is signed, by OpenSSH, carried by message, counted at a gate, and shown as evidence."""
