"""WOULD IT AGAIN: what was done, told again, and done again over the recorded answers, without touching a target."""
