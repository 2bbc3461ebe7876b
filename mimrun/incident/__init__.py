"""Why something is done: the incident, and how urgent it is."""
