"""A whole run: judged, recorded, interrupted, locked out and out of disk, in real processes."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import run_records
from pipeline.cache.lock import write_lock
from pipeline.errors import LockedError, StageError, StoreError, UnavailableError
from pipeline.events import Event
from pipeline.project import Project
from pipeline.requirements import Unsupported
from pipeline.run_pipeline import run_pipeline
from pipeline.settings import Settings
from pipeline.stage import Stage

Open = Callable[..., Project]
Code = Callable[..., None]

# What the command does, for stages of a test: errors go to standard error, the code is the exit.
CHILD = """
import resource, sys
from pathlib import Path
from pipeline.errors import MadpipeError
from pipeline.run_pipeline import run_pipeline
from pipeline.project import Project
from pipeline.screen.plain import PlainScreen
from pipeline.stage import Stage
sys.path.insert(0, str(Path(sys.argv[1]).parent / "code"))
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
stage = Stage(name="make", run="fakestages:run", settings=("seed", "student"),
              outputs={"out": "out.bin"})
try:
    project = Project.open(Path(sys.argv[1]), sys.argv[3:], lambda settings, root: (stage,))
    sys.exit(run_pipeline(project, ["all"], force=(), sinks=[PlainScreen()], command="run all",
                     inconclusive=4))
except MadpipeError as error:
    sys.stderr.write(str(error))
    sys.exit(error.exit_code)
"""


def run(
    project: Project, *targets: str, events: list[Event] | None = None, inconclusive: int = 4
) -> int:
    return run_pipeline(
        project,
        targets or ("all",),
        force=(),
        sinks=[events.append] if events is not None else [],
        command="madpipe run all --config d\udce9.toml",
        inconclusive=inconclusive,
    )


def child(tmp_path: Path, *overrides: str, largest_file: int = 0) -> subprocess.Popen[str]:
    (tmp_path / "pipeline.toml").touch()
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(tmp_path / "pipeline.toml"),
            str(largest_file),
            *overrides,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def last_run(project: Project) -> list[tuple[str, str]]:
    record = run_records.latest(project.store)
    assert record is not None
    return [(stage.name, stage.status) for stage in record.stages]


def test_a_smoke_run_judges_nothing_and_leaves_nothing_for_a_real_one(project: Open) -> None:
    events: list[Event] = []
    code = run_pipeline(
        project("gates.student_top1_drop.max=-1.0"),
        ["all"],
        force=(),
        sinks=[events.append],
        command="madpipe run all --smoke",
        inconclusive=4,
        is_smoke=True,
    )
    assert code == 0
    kinds = [event.kind for event in events]
    assert "gate" not in kinds
    (estimate,) = (event.fields for event in events if event.kind == "estimate")
    assert set(estimate["stages"]) == {"distill", "validate"}
    assert estimate["seconds"] > 0
    assert "gates are skipped" in next(e.fields["text"] for e in events if e.kind == "note")
    opened = project()
    assert [item.action for item in opened.plan(["all"])] == ["run", "wait"]
    assert run_records.latest(opened.store) is None


def test_run_ends_with_its_verdicts_and_its_record(project: Open) -> None:
    opened = project()
    events: list[Event] = []
    assert run(opened, events=events) == 0
    assert [event.kind for event in events][-4:] == ["gate", "gate", "gate", "run_done"]
    command = r"madpipe run all --config d\xe9.toml"
    assert events[0].fields == {"stages": ["distill", "validate"], "command": command}
    assert events[-1].fields["exit_code"] == 0
    assert last_run(opened) == [("distill", "ran"), ("validate", "ran")]


def test_second_run_is_all_hits_and_judges_anew(project: Open) -> None:
    run(project())
    strict = project("gates.speedup.min=50")
    assert run(strict) == 3
    assert last_run(strict) == [("distill", "hit"), ("validate", "hit")]


@pytest.mark.parametrize(("inconclusive", "expected"), [(4, 4), (0, 0), (3, 3)])
def test_inconclusive_gate_has_the_exit_code_that_was_asked_for(
    project: Open, inconclusive: int, expected: int
) -> None:
    unsure = project("gates.speedup.min=5")
    assert run(unsure, inconclusive=inconclusive) == expected


def test_run_without_validate_judges_nothing(project: Open) -> None:
    events: list[Event] = []
    assert run(project("gates.speedup.min=50"), "distill", events=events) == 0
    assert [event for event in events if event.kind == "gate"] == []


def test_failed_run_is_recorded_with_the_stage_that_failed(project: Open, code: Code) -> None:
    opened = project()
    code("def distill(ctx):\n    raise ValueError('no luck')\n")
    with pytest.raises(StageError, match="no luck"):
        run(opened)
    assert opened.store.digest_cache_path.is_file()  # what was read need not be read again
    record = run_records.latest(opened.store)
    assert record is not None
    (failed,) = record.stages
    assert (failed.name, failed.status) == ("distill", "failed")
    assert "no luck" in failed.message


def test_record_that_cannot_be_written_is_an_error_but_hides_no_failure(
    project: Open, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_records, "write_lasting", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        run(project())
    code("def distill(ctx):\n    raise ValueError('no luck')\n")
    with pytest.raises(StageError, match="no luck"):
        run(project("seed=1"))


def test_run_without_gates_notes_it(project: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = project()
    monkeypatch.setattr("pipeline.run_pipeline.judge", lambda *_: [])
    events: list[Event] = []
    assert run(opened, events=events) == 0
    assert events[-2].fields == {"text": "nothing was judged: the settings have no gates"}


def test_what_the_machine_lacks_is_reported_before_anything_runs(
    project: Open, tmp_path: Path
) -> None:
    opened = project()
    unsupported = Unsupported(setting="build.backend", wrong="is not here (x)", remedy="use y")
    first, second = opened.stages
    needy = Stage(
        name="last",
        run="fakestages:last",
        inputs=("validate/measurements",),
        outputs={},
        requires=(unsupported,),
    )
    whole = Project(Settings(), (first, second, needy), opened.store, opened.path)
    with pytest.raises(UnavailableError) as caught:
        run(whole)
    assert caught.value.exit_code == 5
    assert not (tmp_path / ".madpipe" / "entries").exists()


def test_locked_folder_stops_a_run_but_not_one_of_hits(project: Open) -> None:
    opened = project("run.lock_wait_s=0")
    run(opened)
    with write_lock(opened.store, command="other"):
        assert run(opened) == 0
        with pytest.raises(LockedError, match=r": other\); wait for it"):
            run(project("run.lock_wait_s=0", "seed=1"))


def test_digests_of_code_is_kept_for_the_next_run(project: Open) -> None:
    opened = project()
    run(opened)
    assert json.loads(opened.store.digest_cache_path.read_bytes())["digests"]["code"] != {}


def test_a_run_that_only_finds_what_is_stored_removes_work_that_a_kill_left(project: Open) -> None:
    opened = project()
    assert run(opened) == 0
    newest = opened.store.newest("distill")
    assert newest is not None
    work = opened.store.work_path("distill", newest.record.key)
    (work / "checkpoint").mkdir(parents=True)
    with write_lock(opened.store, command="another"):
        (work / "checkpoint").mkdir(parents=True)
        assert run(opened) == 0
        assert work.exists()  # it waits for nobody
    assert run(opened) == 0
    assert not work.exists()


SLOW = """
import time
def run(ctx):
    loaded = ctx.checkpoints.load()
    done = int(loaded.read_text()) if loaded else 0
    if not done:
        ctx.note("begun")
    while done < 2 or not (ctx.output("out").parents[5] / "go").exists():
        done += 1
        time.sleep(0.01)
        ctx.checkpoints.keep(lambda path: path.write_text(str(done)))
    ctx.note(f"went on after {loaded is not None}")
    ctx.output("out").write_text("done")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_at_a_checkpoint_and_the_same_command_resumes(
    tmp_path: Path, code: Code, number: signal.Signals
) -> None:
    code(SLOW)
    process = child(tmp_path)
    assert process.stdout is not None
    assert "start" in process.stdout.readline()
    assert "begun" in process.stdout.readline()
    process.send_signal(number)
    assert ended(process)[::2] == (
        130,
        "stage make: interrupted; the same command goes on from its checkpoint",
    )
    (tmp_path / "go").touch()
    returned, out, _ = ended(child(tmp_path))
    assert returned == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["make", "resume"],
        ["make", "note"],
        ["make", "resumed"],
        ["madpipe", "done"],
    ]
    assert "went on after True" in out


def test_killed_run_leaves_no_entry_and_the_same_command_resumes(
    tmp_path: Path, code: Code
) -> None:
    code(SLOW)
    process = child(tmp_path, "run.checkpoint_every_s=0")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    while not list(tmp_path.glob(".madpipe/work/make/*/checkpoint/state")):
        assert process.poll() is None
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    assert list(tmp_path.glob(".madpipe/entries/*/*")) == []
    (tmp_path / "go").touch()
    returned, out, _ = ended(child(tmp_path))
    assert returned == 0
    assert "resumed" in out


def test_two_runs_at_once_do_the_work_once(tmp_path: Path, code: Code) -> None:
    code(SLOW)
    first = child(tmp_path)
    assert first.stdout is not None
    first.stdout.readline()
    second = child(tmp_path)
    assert second.stdout is not None
    waiting = second.stdout.readline()
    assert f"waiting for process {first.pid} on " in waiting
    (tmp_path / "go").touch()
    assert ended(first)[0] == 0
    returned, out, _ = ended(second)
    assert returned == 0
    assert out.split()[:2] == ["make", "hit"]


BIG = "def run(ctx):\n    ctx.output('out').write_bytes(bytes(200_000))\n"
BIG_CHECKPOINT = """
def run(ctx):
    ctx.checkpoints.keep(lambda path: path.write_bytes(bytes(200_000)))
    ctx.output("out").touch()
"""
MANY_EVENTS = """
def run(ctx):
    for number in range(5000):
        ctx.note("x" * 50)
    ctx.output("out").touch()
"""


@pytest.mark.parametrize(
    ("source", "overrides"),
    [
        (BIG, ()),
        (BIG_CHECKPOINT, ("run.checkpoint_every_s=0",)),
        (MANY_EVENTS, ()),
        ("def run(ctx):\n    ctx.output('out').touch()\n", (f"student.arch={'x' * 70_000}",)),
    ],
    ids=["output", "checkpoint", "events", "record"],
)
def test_full_disk_is_a_clear_error_and_the_next_run_works(
    tmp_path: Path, code: Code, source: str, overrides: tuple[str, ...]
) -> None:
    code(source)
    returned, _, err = ended(child(tmp_path, *overrides, largest_file=65_536))
    assert (returned, err.count("\n")) == (1, 0)
    assert "cannot be read or written (File too large); free space" in err
    assert list(tmp_path.glob(".madpipe/entries/*/*/entry.json")) == []
    returned, out, err = ended(child(tmp_path, *overrides))
    assert (returned, err) == (0, "")
    assert "ran" in out or "resumed" in out


def test_disk_without_any_space_is_a_clear_error(tmp_path: Path, code: Code) -> None:
    code(BIG)
    returned, _, err = ended(child(tmp_path, largest_file=1))
    assert returned == 1
    assert "cannot be read or written (File too large); free space" in err
    assert ended(child(tmp_path))[0] == 0


def test_a_run_that_used_real_images_ends_with_that_note_also_where_all_is_stored(
    project: Open,
) -> None:
    for _ in range(2):
        events: list[Event] = []
        run(project("distill.images=images", "gates={}"), events=events)
        notes = [event.fields["text"] for event in events if event.kind == "note"]
        assert notes[0].startswith("not data-free: the student learned from 80 unlabelled images")
    events = []
    run(project("gates={}"), events=events)
    assert "data-free" not in str([event.fields for event in events if event.kind == "note"])
