"""A project that has run and left samples, and an S3 server for the tests of shared caches."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from tests.measurements import SAMPLES
from tests.pipeline.cache.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with an empty bucket, and the environment that leads there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_server.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3_server.reset()
    yield s3_server
    s3_server.reset()


_WITH_SAMPLES = """
import shutil

def distill(ctx):
    ctx.output("student").write_text("x")
    ctx.output("picture").write_text("x")

def validate(ctx):
    shutil.copyfile(ctx.external("measured"), ctx.output("measurements"))
    ctx.output("measurements").with_name("samples.json").write_text(SAMPLES)
"""


@pytest.fixture
def stored_with_samples(project: Callable[..., Project], code: Callable[..., None]) -> Project:
    """A project whose validate stage also left samples, as the real one does."""
    opened = project()
    validate = opened.stages[1]
    outputs = {**validate.outputs, "samples": "samples.json"}
    code(_WITH_SAMPLES + f"\nSAMPLES = {msgspec.json.encode(SAMPLES).decode()!r}\n")
    opened = replace(opened, stages=(opened.stages[0], replace(validate, outputs=outputs)))
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    return opened
