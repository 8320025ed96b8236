"""The command line. The only part of the core that knows the stages."""
