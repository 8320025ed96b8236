"""A checkpoint is saved when due or when a stop is asked for, and is never half of one."""

from pathlib import Path

import pytest

from pipeline.checkpoint import Checkpoints
from pipeline.errors import Interrupted


def checkpoints(folder: Path, *, every_s: float = 0.0, is_stopping: bool = False) -> Checkpoints:
    return Checkpoints(folder, stage="make", every_s=every_s, stop_asked=lambda: is_stopping)


def write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert checkpoints(tmp_path / "new").load() is None
    assert not (tmp_path / "new").exists()


def test_what_was_kept_last_is_loaded(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path / "new")
    kept.keep(lambda path: write("one", path))
    kept.keep(lambda path: write("two", path))
    loaded = checkpoints(tmp_path / "new").load()
    assert loaded is not None
    assert loaded.read_text(encoding="utf-8") == "two"


def test_nothing_is_written_before_it_is_due(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, every_s=1e9)
    kept.keep(lambda path: write("one", path))
    assert kept.load() is None


def test_stop_saves_at_once_and_then_interrupts(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, every_s=1e9, is_stopping=True)
    with pytest.raises(Interrupted) as caught:
        kept.keep(lambda path: write("one", path))
    assert str(caught.value) == (
        "stage make: interrupted; the same command goes on from its checkpoint"
    )
    loaded = kept.load()
    assert loaded is not None
    assert loaded.read_text(encoding="utf-8") == "one"


def test_failed_write_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    kept.keep(lambda path: write("one", path))

    def fail(path: Path) -> None:
        write("tw", path)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        kept.keep(fail)
    assert caught.value.filename == str(tmp_path / "state")
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]
    loaded = kept.load()
    assert loaded is not None
    assert loaded.read_text(encoding="utf-8") == "one"


def test_what_takes_long_to_save_is_saved_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("pipeline.checkpoint.time.monotonic", lambda: now[0])
    kept = checkpoints(tmp_path, every_s=10.0)
    saved: list[float] = []

    def slowly(path: Path) -> None:
        saved.append(now[0])
        now[0] += 2.0
        write("state", path)

    for _ in range(300):
        now[0] += 1.0
        kept.keep(slowly)
    assert saved[:2] == [10.0, 110.0]
    assert 2.0 * len(saved) / now[0] <= 0.025


def test_an_interval_of_nothing_saves_whenever_asked(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, every_s=0.0)
    texts = iter("abc")
    for _ in range(3):
        kept.keep(lambda path: write(next(texts), path))
    loaded = kept.load()
    assert loaded is not None
    assert loaded.read_text(encoding="utf-8") == "c"
