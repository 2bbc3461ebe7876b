"""The door for browsers and programs: console, API, alert intake, in one server."""
