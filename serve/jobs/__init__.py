"""Durable jobs: a queue in a database, leases for workers, and artifacts that appear all at once."""
