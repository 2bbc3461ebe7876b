"""The log in an SQLite file: how it is laid out, read and written there."""
