"""Adapters to outside systems, one module each.

A connector imports from mimrun only `mimrun.connector`, and never another connector. It is found by its
entry point in the group `mimrun.connectors`, so a connector in another package is as good as these.
"""
