"""Stages are run once, stored whole, and a failure or a stop leaves nothing half done."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, StageError, StoreError, UnavailableError, UndeclaredAccess
from pipeline.events import Event
from pipeline.requirements import Unsupported
from pipeline.runner import Runner
from pipeline.settings import Gate, Settings
from pipeline.settings import Run as RunSettings
from pipeline.stage import External, Stage

Run = Callable[..., Runner]
Code = Callable[..., None]

CODE = """
from fakestages.helper import suffix

def first(ctx):
    ctx.output("out").write_text("same" + suffix())
    ctx.metric("length", 4)

def second(ctx):
    ctx.output("out").write_text(ctx.input("first/out").read_text() + "!")
"""
FIRST = Stage(name="first", run="fakestages:first", settings=("seed",), outputs={"out": "out.txt"})
SECOND = Stage(
    name="second", run="fakestages:second", inputs=("first/out",), outputs={"out": "out.txt"}
)
BOTH = (FIRST, SECOND)


@pytest.fixture(autouse=True)
def _code(code: Code) -> None:
    code("def suffix(): return ''\n", "helper")
    code(CODE)


def statuses(runner: Runner) -> list[str]:
    return [record.status for record in runner.records]


def kinds(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.stage) for event in events]


def text_of(store: Store, stage: str) -> str:
    entry = store.newest(stage)
    assert entry is not None
    return entry.output("out").read_text(encoding="utf-8")


def test_stages_run_once_and_are_hits_afterwards(run: Run, store: Store) -> None:
    assert statuses(run(BOTH)) == ["ran", "ran"]
    assert text_of(store, "second") == "same!"
    assert statuses(run(BOTH)) == ["hit", "hit"]


def test_record_of_a_stage_holds_its_key_figures_and_outputs(run: Run) -> None:
    record = run((FIRST,)).entries["first"].record
    assert record.metrics == {"length": 4}
    assert record.key_document["settings"] == {"seed": 0}
    assert (record.outputs["out"].file, record.outputs["out"].bytes) == ("out.txt", 4)
    assert not record.resumed


def test_nothing_is_left_in_the_work_folder(run: Run, store: Store) -> None:
    run(BOTH)
    assert [path for path in (store.home / "work").rglob("*") if path.is_file()] == []


def test_events_follow_the_run_in_order(run: Run, events: list[Event]) -> None:
    run(BOTH)
    assert kinds(events) == [
        ("stage_started", "first"),
        ("metric", "first"),
        ("stage_done", "first"),
        ("stage_started", "second"),
        ("stage_done", "second"),
    ]
    assert events[0].fields == {"reason": ["never run"], "resumed": False}
    assert events[2].fields["metrics"] == {"length": 4}


def test_rerun_with_identical_bytes_leaves_what_follows_a_hit(run: Run) -> None:
    run(BOTH)
    assert statuses(run(BOTH, Settings(seed=1))) == ["ran", "hit"]
    assert statuses(run(BOTH, force=frozenset({"first"}))) == ["ran", "hit"]


def test_threshold_change_does_not_remeasure(run: Run) -> None:
    run(BOTH)
    changed = Settings(gates={"speedup": Gate(min=50.0)}, run=RunSettings(lock_wait_s=1.0))
    assert statuses(run(BOTH, changed)) == ["hit", "hit"]


def test_comment_edit_is_a_hit_and_helper_edit_runs_again(run: Run, code: Code) -> None:
    run(BOTH)
    code("# says nothing\n" + CODE)
    assert statuses(run(BOTH)) == ["hit", "hit"]
    code("def suffix(): return '?'\n", "helper")
    assert statuses(run(BOTH)) == ["ran", "ran"]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("ctx.settings.distill", UndeclaredAccess, "asked for a setting .*(distill)"),
        ("ctx.input('second/out')", UndeclaredAccess, r"asked for a input .*\(second/out\)"),
        ("ctx.output('more')", UndeclaredAccess, r"asked for a output .*\(more\)"),
        ("pass", StageError, r"stage first: did not write what it declares \(out\); write out.txt"),
        ("1 / 0", StageError, r"stage first: failed \(ZeroDivisionError: division by zero\)"),
        ("raise SystemError('odd')", StageError, r"failed \(SystemError: odd\)"),
        ("import no_such_thing", StageError, r"failed \(ModuleNotFoundError: No module named"),
    ],
)
def test_failed_stage_leaves_no_entry_and_the_next_run_works(
    run: Run,
    store: Store,
    *,
    code: Code,
    events: list[Event],
    body: str,
    error: type[StageError],
    message: str,
) -> None:
    code(f"def first(ctx):\n    {body}\n")
    with pytest.raises(error, match=message):
        run((FIRST,))
    assert list(store.entries()) == []
    assert kinds(events)[-1] == ("stage_failed", "first")
    code(CODE)
    assert statuses(run(BOTH)) == ["ran", "ran"]


def test_traceback_of_a_failure_is_kept_at_the_path_in_the_message(run: Run, code: Code) -> None:
    code("def first(ctx):\n    raise ValueError('no luck')\n")
    with pytest.raises(StageError, match="no luck") as caught:
        run((FIRST,))
    path = str(caught.value).partition("see ")[2].partition(",")[0]
    assert "ValueError: no luck" in Path(path).read_text(encoding="utf-8")


def test_failure_of_the_second_stage_keeps_the_first(run: Run, code: Code) -> None:
    code(CODE.replace('+ "!"', "+ 1"))
    with pytest.raises(StageError):
        run(BOTH)
    code(CODE)
    assert statuses(run(BOTH, force=frozenset())) == ["ran", "ran"]


@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_damaged_entry_is_run_again_and_replaced(
    run: Run, store: Store, events: list[Event], harm: str
) -> None:
    path = run((FIRST,)).entries["first"].output("out")
    path.chmod(0o644)
    if harm == "flip":
        path.write_text("sane", encoding="utf-8")
    else:
        path.unlink()
    events.clear()
    assert statuses(run((FIRST,))) == ["ran"]
    reason = {"flip": "has other bytes than were stored", "remove": "is missing"}[harm]
    assert events[0].fields["reason"] == [f"the stored entry is damaged: out.txt {reason}"]
    assert text_of(store, "first") == "same"
    assert statuses(run((FIRST,))) == ["hit"]


def test_requirement_that_is_not_met_stops_before_the_stage_runs(run: Run, store: Store) -> None:
    unsupported = Unsupported(setting="build.backend", wrong="is not here (x)", remedy="use y")
    stage = Stage(name="first", run="fakestages:first", outputs={}, requires=(unsupported,))
    with pytest.raises(UnavailableError, match=r"build.backend: is not here \(x\); use y"):
        run((stage,))
    assert list(store.home.glob("work/*")) == []


SLOW = """
def first(ctx):
    loaded = ctx.checkpoints.load()
    done = int(loaded.read_text()) if loaded else 0
    while done < 6:
        done += 1
        ctx.note(f"round {done}")
        ctx.checkpoints.keep(lambda path: path.write_text(str(done)))
        ctx.progress(done, 6, "rounds")
    ctx.output("out").write_text("done")
"""


def rounds(events: list[Event]) -> list[str]:
    return [event.fields["text"] for event in events if event.kind == "note"]


def stopped_in_round_3(store: Store, events: list[Event]) -> Runner:
    return Runner(
        Settings(),
        store,
        DigestCache(),
        [events.append],
        stop_asked=lambda: len(rounds(events)) == 3,
    )


def test_stop_saves_a_checkpoint_and_the_next_run_goes_on_from_it(
    run: Run, store: Store, code: Code, events: list[Event]
) -> None:
    code(SLOW)
    with pytest.raises(Interrupted, match="goes on from its checkpoint"):
        stopped_in_round_3(store, events).run((FIRST,))
    assert list(store.entries()) == []
    runner = run((FIRST,))
    assert statuses(runner) == ["resumed"]
    assert runner.entries["first"].record.resumed
    assert rounds(events) == [f"round {number}" for number in range(1, 7)]


def test_events_of_both_halves_are_kept_with_the_entry(
    run: Run, store: Store, code: Code, events: list[Event]
) -> None:
    code(SLOW)
    with pytest.raises(Interrupted):
        stopped_in_round_3(store, events).run((FIRST,))
    entry = run((FIRST,)).entries["first"]
    lines = (entry.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum('"note"' in line for line in lines) == 6
    assert sum('"stage_started"' in line for line in lines) == 2


def test_a_kill_before_the_entry_is_there_loses_no_events(
    run: Run, store: Store, code: Code, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    code(SLOW)
    with pytest.raises(Interrupted):
        stopped_in_round_3(store, events).run((FIRST,))

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", killed)
        with pytest.raises(SystemExit):
            run((FIRST,))
    entry = run((FIRST,)).entries["first"]
    lines = (entry.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert {f"round {number}" for number in range(1, 7)} == {
        json.loads(line)["text"] for line in lines if '"note"' in line
    }


def test_checkpoint_of_other_settings_is_not_met(
    run: Run, store: Store, code: Code, events: list[Event]
) -> None:
    code(SLOW)
    with pytest.raises(Interrupted):
        stopped_in_round_3(store, events).run((FIRST,))
    events.clear()
    assert statuses(run((FIRST,), Settings(seed=1))) == ["ran"]
    assert rounds(events)[0] == "round 1"


def test_unfinished_stage_does_not_write_through_a_link(
    run: Run, store: Store, code: Code, events: list[Event], tmp_path: Path
) -> None:
    code(SLOW)
    with pytest.raises(Interrupted):
        stopped_in_round_3(store, events).run((FIRST,))
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    (log,) = (store.home / "work").glob("*/*/events.jsonl")
    log.unlink()
    log.symlink_to(tmp_path / "mine.txt")
    with pytest.raises(StoreError, match=r"events\.jsonl: is a link"):
        run((FIRST,))
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_stop_between_two_stages_keeps_the_first(
    run: Run, store: Store, events: list[Event]
) -> None:
    def stop_asked() -> bool:
        return any(event.kind == "stage_done" for event in events)

    runner = Runner(Settings(), store, DigestCache(), [events.append], stop_asked=stop_asked)
    with pytest.raises(Interrupted):
        runner.run(BOTH)
    assert statuses(run(BOTH)) == ["hit", "ran"]


def test_file_that_a_stage_misses_is_reported_with_its_name(run: Run, code: Code) -> None:
    code("def first(ctx):\n    open('/no/such/file')\n")
    with pytest.raises(StoreError, match=r"/no/such/file: .*No such file or directory"):
        run((FIRST,))


def test_store_that_cannot_be_written_is_an_error(run: Run, store: Store) -> None:
    (store.home / "work").write_bytes(b"in the way")
    with pytest.raises(StoreError, match="cannot be read or written"):
        run((FIRST,))


def test_a_log_that_cannot_be_moved_to_its_entry_is_named_there(run: Run, code: Code) -> None:
    code(
        CODE
        + "    (ctx.output('out').parent / 'events.jsonl' / 'in the way').mkdir(parents=True)\n"
    )
    with pytest.raises(StoreError, match=r"/out/events\.jsonl: cannot be read or written"):
        run(BOTH)


def test_figures_of_any_plain_kind_are_stored(run: Run, code: Code) -> None:
    code("def first(ctx):\n    ctx.output('out').touch()\n    ctx.metric('name', 'x')\n")
    metrics: dict[str, Any] = run((FIRST,)).entries["first"].record.metrics
    assert metrics == {"name": "x"}


def test_a_stage_gets_a_folder_for_what_outlives_it(
    store: Store, run: Callable[..., Runner], code: Callable[..., None]
) -> None:
    code("def run(ctx):\n    ctx.output('x').write_text(str(ctx.cache))\n")
    stage = Stage(name="one", run="fakestages:run", outputs={"x": "x.txt"})
    entry = run((stage,)).entries["one"]
    assert entry.output("x").read_text() == str(store.home / "cache" / "one")


def test_a_stage_that_was_done_and_could_not_be_stored_keeps_the_events_of_its_first_session(
    run: Run, store: Store, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    code(SLOW)
    often = Settings(run=RunSettings(checkpoint_every_s=0))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(store.home))

    with monkeypatch.context() as full:
        full.setattr(Store, "commit", fail)
        with pytest.raises(StoreError, match="No space left"):
            run((FIRST,), often)
    runner = run((FIRST,), often)
    assert statuses(runner) == ["resumed"]
    lines = (runner.entries["first"].path / "events.jsonl").read_text("utf-8").splitlines()
    assert sum('"stage_started"' in line for line in lines) == 2


@pytest.mark.parametrize("change", ["unlink()", "write_text('new')"])
def test_what_changed_while_a_stage_ran_is_stored_under_no_key(
    run: Run, store: Store, code: Code, tmp_path: Path, change: str
) -> None:
    outside = tmp_path / "data.txt"
    code(
        "def first(ctx):\n"
        "    ctx.output('out').write_text(ctx.external('data').read_text())\n"
        "    ctx.checkpoints.keep(lambda path: path.write_text('half'))\n"
        f"    ctx.external('data').{change}\n"
    )
    outside.write_text("old", encoding="utf-8")
    external = External(path=outside, needed_by="data.root")
    stage = replace(FIRST, externals={"data": external})
    with pytest.raises(StageError, match=r"changed while it ran \(data.root: .*; run it again"):
        run((stage,), Settings(run=RunSettings(checkpoint_every_s=0.0)))
    assert store.newest("first") is None
    assert [*store.home.rglob("checkpoint")] == []


def test_code_that_is_edited_while_its_stage_runs_is_stored_under_no_key(
    run: Run, store: Store, code: Code, tmp_path: Path
) -> None:
    helper = tmp_path / "code" / "fakestages" / "helper.py"
    code(
        "from pathlib import Path\nfrom fakestages import helper\n"
        "def first(ctx):\n"
        "    ctx.output('out').write_text(helper.suffix())\n"
        "    ctx.checkpoints.keep(lambda path: path.write_text('half'))\n"
        f"    Path({str(helper)!r}).write_text('def suffix(): return 1')\n"
    )
    with pytest.raises(StageError, match=r"changed while it ran \(fakestages.helper\)"):
        run((FIRST,), Settings(run=RunSettings(checkpoint_every_s=0.0)))
    assert store.newest("first") is None
    assert [path.name for path in store.home.rglob("checkpoint/*")] == ["state"]


def test_code_that_was_imported_and_then_edited_runs_in_no_later_stage(
    store: Store, tmp_path: Path
) -> None:
    helper = tmp_path / "code" / "fakestages" / "helper.py"

    class EditsBetween(DigestCache):
        """Edits the code once the first stage is stored."""

        def get(self, kind: str, key: str, compute: Callable[[], Any]) -> dict[str, Any]:
            if store.newest("first") is not None:
                helper.write_text("def suffix(): return 'new'", encoding="utf-8")
            return super().get(kind, key, compute)

    runner = Runner(Settings(), store, EditsBetween(), [])
    with pytest.raises(StageError, match=r"second: its code was changed since .*; run it again"):
        runner.run(BOTH)
    assert store.newest("second") is None
