"""Weights by name: what a hub records of them, where its cache has them, and their download."""
