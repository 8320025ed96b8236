"""Showing a run: a live table on a terminal, plain lines elsewhere, JSON lines on request."""
