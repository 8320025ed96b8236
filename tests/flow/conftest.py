"""Project folders for tests that run real processes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.processes import Folder

SMALL = (
    "teacher.arch=resnet8",
    "teacher.epochs=3",
    "distill.rounds=40",
    "build.int8=rounded",
    "distill.batch_size=32",
    "distill.generator_width=16",
    "distill.generator_learning_rate=0.01",
    "distill.bank_size=32",
    "validate.pairs=20",
    "validate.warmup_s=0.01",
    "run.checkpoint_every_s=0",
)

MakeFolder = Callable[..., Folder]


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """Make a project folder with default settings, changed by small ones and by `more`."""

    def make(*more: str, small: bool = True) -> Folder:
        path: Path = tmp_path_factory.mktemp("project")
        (path / "pipeline.toml").touch()
        return Folder(path, (*(SMALL if small else ()), *more))

    return make
