"""The piece of hostile files: every attack in all its variants."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability import small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.hostile import (
    engines,
    folders,
    graphs,
    neighbours,
    pages,
    texts,
    weights,
)
from benchmarks.reliability.hostile.scene import Attack, NotSurvivedError, Scene

NAME = "hostile"
ATTACKS: tuple[Attack, ...] = (
    *weights.ATTACKS,
    *graphs.ATTACKS,
    *engines.ATTACKS,
    *folders.ATTACKS,
    *neighbours.ATTACKS,
    *texts.ATTACKS,
    *pages.ATTACKS,
)


def cases(seed: int) -> Sequence[Case]:
    """Return a case for each variant of each attack: first variants first."""
    most = max(attack.variants for attack in ATTACKS)
    names = [f"{a.what} [{n}]" for n in range(most) for a in ATTACKS if n < a.variants]
    return [
        Case.numbered(number, name, piece=NAME, seed=seed)
        for number, name in enumerate(names, start=1)
    ]


def prepare(shared: Path) -> None:
    """Run the small project once; cases that need a project that has run copy it."""
    project = small_project.write(shared / "finished")
    ended = small_project.run(project, "run", "all", limit_s=1200)
    if ended.code:
        raise RuntimeError(ended.stderr)


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Play one variant of one attack."""
    what, _, variant = case.what.rpartition(" [")
    attack = next(attack for attack in ATTACKS if attack.what == what)
    try:
        attack.play(Scene(folder, shared), int(variant.rstrip("]")))
    except NotSurvivedError as error:
        return Outcome(fault=str(error))
    return Outcome()


PIECE = Piece(
    name=NAME,
    claim="no hostile file runs code, writes or removes outside, or marks up what is shown",
    cases=cases,
    play=play,
    prepare=prepare,
)
