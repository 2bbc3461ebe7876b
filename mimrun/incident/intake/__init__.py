"""What each monitoring system sends, and how it proves that it was it; bytes in, alerts out."""
