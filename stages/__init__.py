"""The work: each stage, and what stages share. Importing this package imports nothing heavy."""
