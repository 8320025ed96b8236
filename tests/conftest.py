"""What many tests share: a project of fake stages that needs no torch, and a memory of events."""

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline import signals
from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.events import Event
from pipeline.gates import real_images
from pipeline.gates.measurements import Measurements
from pipeline.gates.real_images import ImageList
from pipeline.project import Project
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import External, Stage
from tests.gpu.hollow.process import HollowCuda, provide
from tests.measurements import MEASURED, USED


def pytest_collection_finish() -> None:
    """Spare the collector what was imported, at which it would look again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(autouse=True)
def _no_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test as outside of CI, wherever the suite itself runs."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Use one thread: for networks this small, several only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def hollow_cuda(tmp_path_factory: pytest.TempPathFactory) -> HollowCuda:
    """CUDA without a GPU, on which programs of tests run in processes of their own."""
    return provide(tmp_path_factory.mktemp("hollow-cuda"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty working folder, ready to be written to."""
    empty = Store(tmp_path / ".madpipe")
    empty.prepare()
    return empty


@pytest.fixture
def events() -> list[Event]:
    """The events of a run, in order; pass `events.append` as a sink."""
    return []


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write a module of the package `fakestages` that stages can name, and forget it again.

    `code(source)` writes the package itself, `code(source, "helper")` its module `helper`.
    """
    package = tmp_path / "code" / "fakestages"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))
    # Sources are rewritten within a second, which bytecode files would not notice.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str, module: str = "__init__") -> None:
        path = package / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        _forget()

    write("")
    yield write
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fakestages"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True, scope="session")
def _no_disk_is_waited_for() -> Iterator[None]:
    """Leave writes to the system, since no test survives a power cut of its own.

    What is synced is looked at in processes that tests start (`test_power_cut.py`).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _each_test_is_a_process_of_its_own() -> Iterator[None]:
    """Forget what the command leaves in its process, which here is that of many tests.

    These are a run in the middle, with its signals, and where processes that are started look for
    modules.
    """
    signals._active = None
    before = os.environ.get("PYTHONSAFEPATH")
    yield
    if before is None:
        os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture
def run(store: Store, events: list[Event]) -> Callable[..., Runner]:
    """Run stages against the store and return the runner."""

    def call(
        stages: tuple[Stage, ...],
        settings: Settings | None = None,
        force: frozenset[str] = frozenset(),
    ) -> Runner:
        runner = Runner(settings or Settings(), store, DigestCache(), [events.append], force=force)
        runner.run(stages)
        return runner

    return call


_PROJECT_CODE = """
import shutil
from pathlib import Path

def distill(ctx):
    ctx.output("picture").write_bytes(b"not really a picture")
    ctx.output("student").write_text(str(ctx.settings.seed))
    ctx.metric("params", 77850)

def distill_with_images(ctx):
    distill(ctx)
    shutil.copyfile(ctx.external("list"), ctx.output("images"))

def validate(ctx):
    ctx.progress(1, 2, "batch sizes")
    shutil.copyfile(ctx.external("measured"), ctx.output("measurements"))
    ctx.metric("student_top1", 0.98)
"""


def _declare(settings: Settings, root: Path) -> tuple[Stage, ...]:
    measured = External(path=root / "measured.json", needed_by="data.root")
    has_images = settings.distill.images is not None
    images = External(path=root / "images.json", needed_by="distill.images")
    return (
        Stage(
            name="distill",
            run="fakestages:distill_with_images" if has_images else "fakestages:distill",
            settings=("seed",),
            externals={"list": images} if has_images else {},
            outputs={"student": "student.bin", "picture": "samples.png"}
            | ({"images": "images.json"} if has_images else {}),
        ),
        Stage(
            name="validate",
            run="fakestages:validate",
            settings=("data.source",),
            inputs=("distill/student",),
            externals={"measured": measured},
            outputs={"measurements": "measurements.json"},
        ),
    )


@pytest.fixture
def project(
    tmp_path: Path,
    code: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Project]:
    """Open a project of two fake stages, distill and validate, in the folder of the test.

    `project("seed=1", measured=...)` changes settings and what validate measures.
    """
    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    code(_PROJECT_CODE)
    config = tmp_path / "pipeline.toml"
    config.write_text("", encoding="utf-8")

    def make(*overrides: str, measured: Measurements | bytes = MEASURED) -> Project:
        content = measured if isinstance(measured, bytes) else msgspec.json.encode(measured)
        (tmp_path / "measured.json").write_bytes(content)
        listed = ImageList(use=USED, pixels=(), names=())
        real_images.write(tmp_path / "images.json", listed)
        return Project.open(config, overrides, _declare)

    return make


@pytest.fixture
def madpipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command in the folder of the test; returns exit code, output and errors."""
    from pipeline.cli.main import main

    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(list(arguments))
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capsys.readouterr()

    return call
