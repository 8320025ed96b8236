"""Reading pipeline.toml, checking it, and writing one."""
