"""What the server does besides its pages: sessions and passwords."""
