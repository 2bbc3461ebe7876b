"""What pages show: from values of `mimrun.app` to values of a template, purely."""
