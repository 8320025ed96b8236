"""Faults that madpipe must survive, made by the hundred, each with its seed."""
