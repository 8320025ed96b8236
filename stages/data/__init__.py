"""Labelled images from every source. Imported by teacher and validate, never by distill."""
