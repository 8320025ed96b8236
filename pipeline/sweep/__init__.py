"""Sweeps: one chain for every combination of some settings, and what comes of them side by side."""
