"""The stage engine of madpipe: settings, keys, store, runner, gates, reports and command line."""

__version__ = "0.1.0"
