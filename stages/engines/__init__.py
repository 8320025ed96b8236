"""The backends that build and run engines."""
