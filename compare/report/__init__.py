"""What came out: one page to look at, and tables for programs."""
