"""Taking alerts in, and looking at them."""
