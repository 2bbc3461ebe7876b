"""The API, version 1: a module for each noun."""
