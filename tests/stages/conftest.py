"""One tiny pipeline, run once, for all tests of stages that need real outputs."""

import pytest

from tests.stages import graph_replays
from tests.stages.graph_replays import GraphReplays
from tests.stages.tiny import TinyRun, run_stages, settings


@pytest.fixture(scope="session", autouse=True)
def _always_one_thread(one_thread: None) -> None:
    """Run every test of a stage with one thread."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """All five stages of the tiny pipeline, run in this process; do not change its files."""
    return run_stages(settings(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> GraphReplays:
    """Compile nothing for CUDA graphs, but write over outputs as they do."""
    return graph_replays.install(monkeypatch)
