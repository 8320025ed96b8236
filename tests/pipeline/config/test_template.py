"""pipeline.toml as written documents every setting, and reads back to the same."""

import re
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, inspect

from pipeline.config import load as config
from pipeline.config import template
from pipeline.config.presets import PRESETS
from pipeline.config.template import accepted, bounds, descriptions
from pipeline.gates.measures import MEASURES
from pipeline.settings import Build, Data, Distill, Gate, Settings, Teacher


def read_back(folder: Path, settings: Settings) -> Settings:
    path = folder / "pipeline.toml"
    path.write_text(template.render(settings), encoding="utf-8")
    return config.load(path)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_reads_back_to_itself(tmp_path: Path, name: str) -> None:
    assert read_back(tmp_path, PRESETS[name]) == PRESETS[name]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(seed=2**32 - 1, data=Data(root='a "b" \\ c', mean=(0.5, 0.25), std=(1.0, 2.0))),
        Settings(teacher=Teacher(weights="t.pth", weight_decay=0.0)),
        Settings(build=Build(backend="tensorrt-rtx", targets=("sm89", "sm120"))),
        Settings(gates={"speedup": Gate(min=1.5, max=9.0, confidence=0.99)}),
        Settings(gates={"student_top1_drop": Gate(max=-0.0123456789)}),
        Settings(gates={}),
        Settings(distill=Distill(student_learning_rate=0.00012345678)),
        Settings(distill=Distill(student_learning_rate=1e-12)),
        Settings(data=Data(root="größer/😀")),
    ],
)
def test_unusual_settings_read_back_to_themselves(tmp_path: Path, settings: Settings) -> None:
    assert read_back(tmp_path, settings) == settings


def test_every_key_is_there_with_its_default_or_as_a_comment() -> None:
    text = template.render(Settings())
    written = tomllib.loads(text)
    for name, kind in typing.get_type_hints(Settings).items():
        if name in {"seed", "gates", "compare"}:
            continue
        table = getattr(Settings(), name)
        for field in msgspec.structs.fields(kind):
            if getattr(table, field.name) is None:
                assert f"\n# {field.name} =" in text
            else:
                assert field.name in written[name]


def test_every_measure_is_explained() -> None:
    text = template.render(Settings())
    for name, words in MEASURES.items():
        assert re.search(rf"^#   {name} +{re.escape(words)}$", text, re.MULTILINE)


def test_lines_are_short_enough_to_read() -> None:
    lines = template.render(Settings()).splitlines()
    assert max(len(line) for line in lines if not line.startswith("#   ")) <= 96


def test_every_key_has_a_comment() -> None:
    text = template.render(Settings()).partition("[gates]")[0]
    keys = [line for line in text.splitlines() if re.match(r"(# )?[a-z0-9_]+ =", line)]
    assert len(keys) > 40
    assert [line for line in keys if not re.search(r"=.*  ?# \w", line)] == []


def test_bounds_and_choices_are_in_the_comments() -> None:
    lines = " ".join(template.render(Settings()).replace("\n", " ").split()).replace(" # ", " ")
    assert "momentum of the EMA generator (paper: 0.95) (>= 0 and < 1)" in lines
    assert "('auto', 'cpu', 'cuda', 'cuda-tensorrt', 'cuda-tensorrt-rtx')" in lines


TYPES = [
    (int, "an integer", ""),
    (Annotated[int, Meta(ge=1)], "an integer >= 1", ">= 1"),
    (
        Annotated[int, Meta(ge=2, multiple_of=2)],
        "an integer >= 2 and a multiple of 2",
        ">= 2 and a multiple of 2",
    ),
    (Annotated[float, Meta(gt=0.0, lt=1.0)], "a number > 0 and < 1", "> 0 and < 1"),
    (Annotated[float, Meta(ge=0.5, le=1.0)] | None, "a number >= 0.5 and <= 1", ">= 0.5 and <= 1"),
    (Literal["b", "a"], "one of 'a', 'b'", "'a', 'b'"),
    (bool, "true or false", ""),
    (str, "a text", ""),
    (Annotated[str, Meta(min_length=1)], "a text that is not empty", ""),
    (tuple[str, ...], "a list, each a text", ""),
    (
        Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)],
        "a list of at least one, each an integer >= 1",
        "",
    ),
    (dict[str, int], "a table", ""),
]


@pytest.mark.parametrize(("kind", "words", "limits"), TYPES)
def test_type_and_bounds_in_words(kind: Any, words: str, limits: str) -> None:
    info = inspect.type_info(kind)
    assert accepted(info) == words
    assert bounds(info) == limits


def test_description_of_a_field_is_the_sentence_below_it_in_one_line() -> None:
    described = descriptions(Distill)
    assert described["student_steps"] == "student steps in a round"
    assert described["draw_every"] == (
        "student steps for one draw of images; more is faster, since images and the teacher's "
        "logits are made once a draw; absent: the method's (1; madpipe: all of a round)"
    )
