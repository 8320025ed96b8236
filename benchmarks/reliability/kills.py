"""Placeholder of the piece of kills."""
