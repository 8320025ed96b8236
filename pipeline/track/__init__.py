"""Trackers that follow a run: sinks of its events, each by its own client, which is optional."""
