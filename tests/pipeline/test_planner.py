"""Stages run in the order of what they read; a plan is hit or miss and why, and touches nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.errors import UsageError
from pipeline.planner import Planned, named, ordered, plan, selected
from pipeline.settings import Distill, Gate, Settings, Student
from pipeline.stage import Stage

Run = Callable[..., object]

CODE = """
def first(ctx):
    ctx.output("out").write_text("same")

def second(ctx):
    ctx.output("out").write_text(ctx.input("first/out").read_text() + "!")
"""
FIRST = Stage(
    name="first",
    run="fakestages:first",
    settings=("seed", "distill.rounds"),
    outputs={"out": "out.txt"},
)
SECOND = Stage(
    name="second",
    run="fakestages:second",
    settings=("student",),
    inputs=("first/out",),
    outputs={"out": "out.txt"},
)
BOTH = (FIRST, SECOND)


@pytest.fixture(autouse=True)
def _code(code: Callable[..., None]) -> None:
    code(CODE)


@pytest.fixture
def planned(store: Store) -> Callable[..., list[Planned]]:
    def make(
        settings: Settings | None = None, force: frozenset[str] = frozenset()
    ) -> list[Planned]:
        return plan(BOTH, settings or Settings(), store, DigestCache(), force)

    return make


def outcomes(planned: list[Planned]) -> list[tuple[str, tuple[str, ...]]]:
    return [(item.action, item.reasons) for item in planned]


def files(store: Store) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.home.rglob("*")}


def test_new_stage_runs_and_what_reads_it_waits(planned: Callable[..., list[Planned]]) -> None:
    assert outcomes(planned()) == [("run", ("never run",)), ("wait", ("waits for first",))]
    assert planned()[1].key is None


def test_stored_stages_are_hits(run: Run, planned: Callable[..., list[Planned]]) -> None:
    run(BOTH)
    assert outcomes(planned()) == [("hit", ()), ("hit", ())]


def test_planning_writes_nothing(
    run: Run, store: Store, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    before = files(store)
    planned(Settings(seed=1))
    assert files(store) == before


def test_changed_setting_is_the_reason(run: Run, planned: Callable[..., list[Planned]]) -> None:
    run(BOTH, Settings(distill=Distill(rounds=1000)))
    changed = planned(Settings(seed=1, distill=Distill(rounds=5)))
    assert outcomes(changed) == [
        ("run", ("settings.distill.rounds: 1000 -> 5", "settings.seed: 0 -> 1")),
        ("wait", ("waits for first",)),
    ]


def test_setting_of_the_second_stage_leaves_the_first_a_hit(
    run: Run, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    changed = planned(Settings(student=Student(arch="resnet20")))
    assert outcomes(changed) == [
        ("hit", ()),
        ("run", ('settings.student.arch: "resnet8" -> "resnet20"',)),
    ]


def test_threshold_change_does_not_remeasure(
    run: Run, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    changed = planned(Settings(gates={"speedup": Gate(min=99.0)}))
    assert [item.action for item in changed] == ["hit", "hit"]


def test_edit_of_the_code_is_the_reason_and_a_comment_is_none(
    run: Run, code: Callable[..., None], planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    code("# remarks\n" + CODE.replace("(ctx):", "(ctx):\n    '''Says so.'''"))
    assert [item.action for item in planned()] == ["hit", "hit"]
    code(CODE.replace('"same"', '"other"'))
    action, (reason,) = outcomes(planned())[0]
    assert action == "run"
    assert reason.startswith("code.fakestages: ")


def test_forced_stage_runs_and_what_reads_it_waits(
    run: Run, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    assert outcomes(planned(force=frozenset({"first"}))) == [
        ("run", ("forced",)),
        ("wait", ("waits for first",)),
    ]


def test_damage_is_the_reason(
    run: Run, store: Store, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    entry = store.newest("second")
    assert entry is not None
    entry.output("out").unlink()
    assert outcomes(planned())[1] == (
        "run",
        ("the stored entry is damaged: out.txt is missing",),
    )


def test_entry_of_earlier_settings_that_was_removed_is_reported(
    run: Run, store: Store, planned: Callable[..., list[Planned]]
) -> None:
    run((FIRST,))
    entry = store.newest("first")
    assert entry is not None
    entry.path.rename(store.home / "elsewhere")
    assert outcomes(planned())[0] == ("run", ("never run",))


def test_checkpoint_of_the_same_key_is_resumed(
    store: Store, planned: Callable[..., list[Planned]]
) -> None:
    key = planned()[0].key
    assert key is not None
    state = store.work_path("first", key) / "checkpoint" / "state"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"half")
    assert outcomes(planned())[0] == (
        "resume",
        ("an unfinished run with this key goes on from its checkpoint",),
    )
    assert planned(Settings(seed=1))[0].action == "run"
    assert planned(force=frozenset({"first"}))[0].action == "run"


def test_settings_changed_back_are_a_hit_again(
    run: Run, planned: Callable[..., list[Planned]]
) -> None:
    run(BOTH)
    run(BOTH, Settings(seed=1))
    assert [item.action for item in planned()] == ["hit", "hit"]


def reading(name: str, *sources: str) -> Stage:
    inputs = tuple(f"{source}/out" for source in sources)
    return Stage(name=name, run="x:y", inputs=inputs, outputs={"out": "out"})


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.name for stage in stages]


A, B, C, D = reading("a"), reading("b", "a"), reading("c", "a"), reading("d", "c", "b")


def test_each_stage_comes_after_those_it_reads() -> None:
    assert names(ordered([D, C, B, A])) == ["a", "c", "b", "d"]


def test_order_is_kept_where_nothing_asks_for_another() -> None:
    assert names(ordered([A, B, C, D])) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([A, A], "two stages have one name"),
        ([B], r"stage b reads what no stage leaves: \['a/out'\]"),
        ([reading("x", "y"), reading("y", "x")], r"stages depend on each other: \['x', 'y'\]"),
        ([reading("x", "x")], "stages depend on each other"),
    ],
)
def test_declaration_that_cannot_be_ordered_is_an_error(stages: list[Stage], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ordered(stages)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["a"], ["a"]),
        (["c"], ["a", "c"]),
        (["c", "b"], ["a", "b", "c"]),
        (["d"], ["a", "b", "c", "d"]),
        (["all"], ["a", "b", "c", "d"]),
        (["b", "all"], ["a", "b", "c", "d"]),
        ([], []),
    ],
)
def test_targets_bring_all_that_they_read(targets: list[str], expected: list[str]) -> None:
    assert names(selected((A, B, C, D), targets)) == expected


def test_names_are_stages_or_all() -> None:
    assert named((A, B), ["b"]) == {"b"}
    assert named((A, B), ["all"]) == {"a", "b"}
    assert named((A, B), []) == frozenset()
    with pytest.raises(UsageError, match=r"no such stage \(zzz\)"):
        named((A, B), ["zzz"])


def test_all_is_a_target_but_no_stage() -> None:
    assert named((D,), ["all"]) == {"d"}
    with pytest.raises(UsageError, match=r"no such stage \(all\); name one of d$"):
        named((D,), ["all"], allow_all=False)
