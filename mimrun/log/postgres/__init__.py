"""The log in a PostgreSQL database: how it is laid out, read and written there, and who executes a run."""
