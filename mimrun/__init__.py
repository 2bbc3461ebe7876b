"""Runs versioned runbooks during a major incident, and records what was done so that it can be proven."""

from __future__ import annotations

__version__ = "0.1.0"
