"""Which runs trackers follow, what a failure leaves, and that none of it reaches the run."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache.lock import write_lock
from pipeline.errors import ConfigError, Interrupted, LockedError, StageError
from pipeline.events import Event
from pipeline.project import Project
from pipeline.report import html
from pipeline.run_pipeline import run_pipeline
from pipeline.settings import Cache, Settings
from pipeline.track.session import flat_settings
from tests.pipeline.track.conftest import STAGES, Follow
from tests.pipeline.track.test_tensorboard_runs import read, runs

TENSORBOARD = 'track.to=["tensorboard"]'


def test_a_tracker_that_is_not_installed_is_one_note(
    follow: Follow, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, notes = follow("mlflow", "tensorboard")
    assert code == 0
    wanted = "mlflow is not installed; pip install 'madpipe[mlflow]'; the run goes on without it"
    assert notes == [wanted, "a | note"]
    assert len(runs(home)) == 1


def test_a_client_that_does_not_import_is_one_note(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken" / "wandb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('of another numpy')", encoding="utf-8")
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pipeline.track.wandb_runs", raising=False)
    monkeypatch.syspath_prepend(str(broken.parent))
    code, notes = follow("wandb")
    assert code == 0
    assert notes[0].startswith("wandb cannot be imported (RuntimeError: of another numpy)")


def test_a_folder_that_cannot_be_written_is_one_note(
    follow: Follow, home: Path, tmp_path: Path
) -> None:
    home.mkdir()
    (home / "track").write_text("no folder", encoding="utf-8")
    code, notes = follow("tensorboard")
    assert code == 0
    assert notes[0].startswith("no tracker follows this run (FileExistsError")
    (home / "track").unlink()
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    code, notes = follow("tensorboard", more=("track.folder=file",))
    assert code == 0
    assert notes[0].startswith("no tracker follows this run (")


def test_stores_can_lie_in_another_folder(follow: Follow, tmp_path: Path) -> None:
    follow("tensorboard", more=("track.folder=tracked", "track.project=mine"))
    assert len(list((tmp_path / "tracked" / "tensorboard" / "mine").iterdir())) == 1


def test_that_folder_may_be_named_from_home_or_by_a_variable(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKED", str(tmp_path / "elsewhere"))
    follow("tensorboard", more=("track.folder=$TRACKED/runs",))
    assert len(list((tmp_path / "elsewhere" / "runs" / "tensorboard").iterdir())) == 1


def test_a_smoke_run_is_not_followed(project: Callable[..., Project], home: Path) -> None:
    run_pipeline(
        project(TENSORBOARD),
        ["all"],
        force=(),
        sinks=[],
        command="run all --smoke",
        inconclusive=4,
        is_smoke=True,
    )
    assert not list(home.rglob("*tfevents*"))


def test_a_failed_run_is_followed_to_its_end_and_begins_anew(
    project: Callable[..., Project], code: Callable[..., None], home: Path
) -> None:
    opened = project(TENSORBOARD, "track.run=a")
    code("def distill(ctx):\n    ctx.point(1, 'rounds', {'loss': 1.0})\n    raise ValueError('no')")
    for _ in range(2):
        with pytest.raises(StageError):
            run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    assert [folder.name for folder in runs(home)] == ["a", "a-2"]
    assert "no" in (runs(home)[0] / "report.html").read_text(encoding="utf-8")


def test_an_interrupted_run_goes_on_in_the_same_folder(
    project: Callable[..., Project], code: Callable[..., None], home: Path
) -> None:
    opened = project(TENSORBOARD)
    stopped = "ctx.note('first'); raise Interrupted('distill', 'interrupted', 'go on')"
    points = "[ctx.point(n, 'rounds', {'loss': 1.0}) for n in range(1, %d)]"
    head = "from pipeline.errors import Interrupted\ndef distill(ctx):\n    "
    code(f"{head}{points % 4}\n    {stopped}")
    with pytest.raises(Interrupted):
        run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    (folder,) = runs(home)
    assert not (folder / "report.html").exists()
    rest = "ctx.output('student').touch(); ctx.output('picture').write_bytes(bytes(40))"
    code(f"{head}{points % 6}\n    ctx.note('second'); {rest}")
    events: list[Event] = []
    run_pipeline(
        opened, ["distill"], force=(), sinks=[events.append], command="run", inconclusive=4
    )
    assert runs(home) == [folder]
    run = read(folder)
    assert [event.step for event in run.Scalars("distill/loss")] == [1, 2, 3, 4, 5]
    text = run.Tensors("notes")[0].tensor_proto.string_val[0].decode()
    assert text.splitlines() == ["- distill: first", "- distill: second"]


def test_a_folder_that_another_process_holds_ends_no_run_that_goes_on(
    project: Callable[..., Project], code: Callable[..., None], home: Path
) -> None:
    opened = project(TENSORBOARD, "run.lock_wait_s=0")

    def run() -> None:
        run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)

    code(
        "from pipeline.errors import Interrupted\n"
        "def distill(ctx):\n    raise Interrupted('distill', 'interrupted', 'go on')"
    )
    with pytest.raises(Interrupted):
        run()
    with write_lock(opened.store, command="another"), pytest.raises(LockedError):
        run()
    code(STAGES)
    run()
    assert len(runs(home)) == 1


def test_a_page_that_does_not_come_about_is_one_note(
    follow: Follow, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object, **__: object) -> str:
        raise ValueError("no such font")

    monkeypatch.setattr(html, "render", render)
    code, notes = follow("tensorboard")
    assert code == 0
    assert notes[-1] == "trackers get no report of this run (ValueError: no such font)"
    assert not list(home.rglob("report.html"))


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ('track.to=["mlflow", "comet"]', "track.to: not a list"),
        ('track.to=["mlflow", "mlflow"]', "names a tracker twice (mlflow)"),
        ("track.project=../up", "track.project: is no name that every tracker takes"),
        ("track.run=..", "track.run: is no name that every tracker takes"),
        ("track.folder= ", "track.folder: is empty"),
    ],
)
def test_a_wrong_setting_is_named(project: Callable[..., Project], change: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(change)
    assert wrong in str(caught.value)


def test_nothing_of_it_is_part_of_a_key(project: Callable[..., Project]) -> None:
    keys = [project(*more).plan(["distill"])[0].key for more in ((), (TENSORBOARD,))]
    assert keys[0] == keys[1] is not None


def test_settings_are_flat_and_what_is_absent_is_left_out() -> None:
    flat = flat_settings(Settings())
    assert flat["build.tensorrt.min_batch"] == 1
    assert flat["gates.speedup.min"] == 2.0
    assert None not in flat.values()
    assert "teacher.weights" not in flat
    assert not [name for name in flat if name.partition(".")[0] in {"run", "track"}]


def test_the_password_of_a_cache_is_no_parameter_of_a_run() -> None:
    flat = flat_settings(Settings(cache=Cache(remote="sftp://me:secret@host/cache")))
    assert "secret" not in str(flat)


def test_no_part_of_a_run_imports_a_client_that_is_not_named() -> None:
    script = "import sys, pipeline.run_pipeline, pipeline.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"tensorboard", "mlflow", "wandb", "trackio", "torch"} & set(done.stdout.split())
