"""What many tests share: a project of fake stages that needs no torch, and a memory of events."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.events import Event
from pipeline.memo import Memo
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import Stage
from pipeline.store import Store

Ran = list[str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty working folder, ready to be written to."""
    made = Store(tmp_path / ".madpipe")
    made.prepare()
    return made


@pytest.fixture
def events() -> list[Event]:
    """The events of a run, in order; pass `events.append` as a sink."""
    return []


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the source of a package `fakestages` that stages can name, and forget it again."""
    package = tmp_path / "code" / "fakestages"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))

    def write(source: str) -> None:
        (package / "__init__.py").write_text(source, encoding="utf-8")
        sys.modules.pop("fakestages", None)

    write("")
    yield write
    sys.modules.pop("fakestages", None)


@pytest.fixture
def run(
    store: Store, events: list[Event]
) -> Callable[..., Runner]:
    """Run stages against the store and return the runner."""

    def call(
        stages: tuple[Stage, ...], settings: Settings | None = None, force: frozenset[str] = frozenset()
    ) -> Runner:
        runner = Runner(settings or Settings(), store, Memo(), [events.append], force=force)
        runner.run(stages)
        return runner

    return call
