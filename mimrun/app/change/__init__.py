"""Change records in use: read, made, linked, written back, and mimrun's own register."""
