"""Packages to deploy: an engine with all that is needed to run and to assess it."""
