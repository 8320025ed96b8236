"""A running stage gets what it declared and is refused the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint import Checkpoints
from pipeline.errors import Interrupted, UndeclaredAccess
from pipeline.settings import Distill, Settings
from pipeline.stage import Context, External, Stage

STAGE = Stage(
    name="make",
    run="fakestages:run",
    settings=("seed", "distill.rounds", "student"),
    inputs=("before/weights",),
    externals={"data": External(path=Path("images"), needed_by="data.root")},
    values={"classes": ["ant", "bee"]},
    outputs={"out": "out.bin"},
)


@pytest.fixture
def emitted() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def stops() -> list[str]:
    """Requests to stop; put one in to stop the stage."""
    return []


@pytest.fixture
def context(tmp_path: Path, emitted: list[tuple[str, dict[str, Any]]], stops: list[str]) -> Context:
    checkpoints = Checkpoints(tmp_path, stage="make", every_s=9, stop_asked=lambda: bool(stops))
    return Context(
        stage=STAGE,
        settings=Settings(seed=7, distill=Distill(rounds=3)),
        inputs={"before/weights": tmp_path / "weights"},
        out=tmp_path / "out",
        checkpoints=checkpoints,
        emit=lambda kind, fields: emitted.append((kind, dict(fields))),
        stop_asked=lambda: bool(stops),
    )


def test_declared_settings_are_there(context: Context) -> None:
    settings = context.settings
    assert (settings.seed, settings.distill.rounds, settings.student.arch) == (7, 3, "resnet8")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda s: s.gates, "gates"),
        (lambda s: s.teacher, "teacher"),
        (lambda s: s.teacher.arch, "teacher"),
        (lambda s: s.distill.alpha, "distill.alpha"),
        (lambda s: s.run.lock_wait_s, "run"),
    ],
)
def test_undeclared_setting_is_refused(
    context: Context, read: Callable[[Settings], object], name: str
) -> None:
    with pytest.raises(UndeclaredAccess) as caught:
        read(context.settings)
    assert str(caught.value) == (
        f"stage make: asked for a setting that its declaration does not name ({name}); "
        f"declare it, so that it becomes part of the key: settings='{name}'"
    )


def test_setting_that_does_not_exist_is_an_attribute_error(
    context: Context,
) -> None:
    with pytest.raises(AttributeError):
        _ = context.settings.distil  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["seed", "gates"])
def test_setting_cannot_be_changed_by_a_stage(context: Context, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(context.settings, name, 1)


def test_declared_files_have_their_paths(context: Context, tmp_path: Path) -> None:
    assert context.input("before/weights") == tmp_path / "weights"
    assert context.output("out") == tmp_path / "out" / "out.bin"
    assert context.external("data") == Path("images")
    assert context.external("other") is None


def test_declared_values_are_there_and_others_are_none(context: Context) -> None:
    assert context.value("classes") == ["ant", "bee"]
    assert context.value("labels") is None


def test_undeclared_input_is_refused(context: Context) -> None:
    with pytest.raises(UndeclaredAccess, match=r"stage make: asked for a input .*\(before/other\)"):
        context.input("before/other")


def test_undeclared_output_is_refused(context: Context) -> None:
    with pytest.raises(UndeclaredAccess, match=r"stage make: asked for a output .*\(more\)"):
        context.output("more")


def test_figures_and_notes_are_emitted(
    context: Context, emitted: list[tuple[str, dict[str, Any]]]
) -> None:
    context.metric("top1", 0.5)
    context.note("mind the gap")
    context.progress(1, 10, "rounds", loss=0.25)
    assert context.metrics == {"top1": 0.5}
    assert emitted == [
        ("metric", {"name": "top1", "value": 0.5}),
        ("note", {"text": "mind the gap"}),
        ("progress", {"done": 1, "total": 10, "unit": "rounds", "loss": 0.25}),
    ]


def test_progress_stops_a_stage_that_was_asked_to_stop(
    context: Context, emitted: list[tuple[str, dict[str, Any]]], stops: list[str]
) -> None:
    stops.append("SIGTERM")
    with pytest.raises(Interrupted, match="make: interrupted; the same command goes on") as caught:
        context.progress(1, 10, "rounds")
    assert caught.value.exit_code == 130
    assert [kind for kind, _ in emitted] == ["progress"]


def test_points_and_pictures_are_emitted(
    context: Context, emitted: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    context.point(4, "rounds", {"loss": 0.5})

    def write(path: Path) -> None:
        path.write_bytes(b"png")

    context.picture("samples", 4, write)
    path = tmp_path / "pictures" / "samples.png"
    assert emitted == [
        ("point", {"step": 4, "unit": "rounds", "figures": {"loss": 0.5}}),
        ("picture", {"name": "samples", "step": 4, "path": str(path)}),
    ]
    assert path.read_bytes() == b"png"
