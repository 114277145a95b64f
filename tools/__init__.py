"""What the checkout's own commands and tests share. Not installed."""
