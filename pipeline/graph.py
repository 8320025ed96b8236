"""The order of the stages, which follows from what they read: nobody writes it down."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from pipeline.errors import UsageError, did_you_mean
from pipeline.stage import Stage

ALL = "all"


def ordered(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """Return the stages so that each comes after those it reads from, else as given.

    Raises:
        ValueError: Two have one name, an input names nothing, or they depend on each other.
    """
    stages = list(stages)
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        message = f"two stages have one name: {names}"
        raise ValueError(message)
    offered = {f"{stage.name}/{output}" for stage in stages for output in stage.outputs}
    for stage in stages:
        if missing := set(stage.inputs) - offered:
            message = f"stage {stage.name} reads what no stage leaves: {sorted(missing)}"
            raise ValueError(message)
    sorter = TopologicalSorter({stage.name: sorted(stage.sources) for stage in stages})
    try:
        sorter.prepare()
    except CycleError as error:
        message = f"stages depend on each other: {sorted(set(error.args[1]))}"
        raise ValueError(message) from error
    in_order: list[Stage] = []
    ready: list[str] = []
    while sorter.is_active():
        # One at a time: what becomes ready may stand before what is ready already.
        first, *ready = sorted([*ready, *sorter.get_ready()], key=names.index)
        in_order.append(stages[names.index(first)])
        sorter.done(first)
    return tuple(in_order)


def selected(stages: Sequence[Stage], targets: Sequence[str]) -> tuple[Stage, ...]:
    """Return `targets` and all that they read from, in order; `all` selects every stage.

    Raises:
        UsageError: A target is no stage.
    """
    by_name = {stage.name: stage for stage in stages}
    for target in targets:
        require_stage(stages, target, allow_all=True)
    wanted: set[str] = set()
    waiting = list(by_name) if ALL in targets else list(targets)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += by_name[name].sources
    return tuple(stage for stage in stages if stage.name in wanted)


def require_stage(stages: Sequence[Stage], name: str, *, allow_all: bool = False) -> None:
    """Make sure that `name` is a stage.

    Raises:
        UsageError: It is not.
    """
    names = [stage.name for stage in stages] + ([ALL] if allow_all else [])
    if name not in names:
        raise UsageError(
            "command line",
            f"no such stage{did_you_mean(name, names)} ({name})",
            f"name one of {', '.join(names)}",
        )
