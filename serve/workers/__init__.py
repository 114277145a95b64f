"""Whoever runs the jobs: models behind a loop, in worker processes that are watched, or in threads."""
