"""What proves the log: walks over it, verification, checkpoints, keys and bundles."""
