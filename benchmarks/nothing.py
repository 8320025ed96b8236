"""A stage that does nothing, to fill a store with entries."""

from pipeline.stage import Context


def run(ctx: Context) -> None:
    """Leave one small file."""
    ctx.output("file").write_text("nothing", encoding="utf-8")
