"""Presets are settings that would be accepted from a file, and report what they lack."""

from pathlib import Path

import pytest

from pipeline.config import load as config
from pipeline.config.presets import PRESETS
from pipeline.config.rules import broken_rules
from pipeline.config.template import render
from pipeline.errors import ConfigError
from pipeline.project import Project
from pipeline.settings import Settings
from stages.catalog import declare
from stages.data.datasets import SPECS

KNOWN_SETS = ["cifar10", "cifar100", "food101", "imagenet", "places365", "tiny-imagenet"]


def test_there_is_one_for_each_of_the_well_known_sets() -> None:
    assert sorted(PRESETS) == sorted([*KNOWN_SETS, "digits", "folder"])
    assert all(PRESETS[name].data.source == name for name in KNOWN_SETS)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_breaks_no_rule(name: str) -> None:
    assert list(broken_rules(PRESETS[name])) == []


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_reads_back_from_its_file_and_can_be_declared(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(render(PRESETS[name]), encoding="utf-8")
    settings = config.load(path)
    assert settings == PRESETS[name]
    assert len(declare(settings, tmp_path)) == 5


@pytest.mark.parametrize("name", KNOWN_SETS)
def test_a_preset_whose_data_is_absent_reports_what_to_put_where(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(render(PRESETS[name]), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Project.open(path, (), declare).plan(["all"])
    message = str(caught.value)
    assert f"data.root: no such file or folder ({tmp_path / 'data' / name}); " in message
    assert SPECS[name].where in message
    has_weights = PRESETS[name].teacher.weights is not None
    assert ("teacher.weights: no such file or folder" in message) == has_weights


def test_digits_are_the_defaults() -> None:
    assert PRESETS["digits"] == Settings()
