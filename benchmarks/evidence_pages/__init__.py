"""Writes the pages of docs/evidence from the records of finished comparisons; no figure is typed by hand."""
