"""Anchors: the log's checkpoints, given to places that its owner cannot change."""
