"""One tiny pipeline, run once, for all tests of stages that need real outputs."""

from collections.abc import Iterator

import pytest
import torch

from tests.stages.tiny import TinyRun, run_stages, settings


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: for networks this small, several only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """All five stages of the tiny pipeline, run in this process; do not change its files."""
    return run_stages(settings(), tmp_path_factory.mktemp("tiny"))
