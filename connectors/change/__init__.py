"""Change systems: one module for each, and what they share in speaking HTTP and reading fields."""
