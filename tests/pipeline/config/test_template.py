"""pipeline.toml as written says what the settings are, and reads back to the same."""

import re
import tomllib
import typing
from pathlib import Path

import msgspec
import pytest

from pipeline.config import load as config
from pipeline.config import template
from pipeline.config.presets import PRESETS
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


def test_bounds_and_choices_are_told() -> None:
    lines = " ".join(template.render(Settings()).replace("\n", " ").split()).replace(" # ", " ")
    assert "momentum of the EMA generator (paper: 0.95) (>= 0 and < 1)" in lines
    assert "('auto', 'cpu', 'cuda')" in lines
