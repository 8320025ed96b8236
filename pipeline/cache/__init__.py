"""Finished stages on disk: their keys, their entries, and who may write them."""
