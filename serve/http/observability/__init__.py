"""What the operator sees of the service: figures and traces. Logs are in ``serve/logs.py``."""
