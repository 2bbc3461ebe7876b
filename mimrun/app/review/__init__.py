"""The review of an incident: made from the log, written down as a page, handed out, and what is to be done afterwards."""
