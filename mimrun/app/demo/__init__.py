"""The demo: real parts that break, a runbook that mends them, and the evidence of it."""
