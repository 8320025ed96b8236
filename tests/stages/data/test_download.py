"""Downloads by torchvision: asked for by the settings, tried here without a network."""

from pathlib import Path

import pytest
from torchvision import datasets

from pipeline.errors import StageError
from pipeline.settings import Data, Settings, SourceName
from stages.data import download


def _settings(source: SourceName) -> Settings:
    return Settings(data=Data(source=source, download=True))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("cifar10", "CIFAR10"),
        ("cifar100", "CIFAR100"),
        ("food101", "Food101"),
        ("places365", "Places365"),
    ],
)
def test_torchvision_is_asked_for_the_set(
    tmp_path: Path, source: SourceName, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(datasets, kind, lambda *args, **named: asked.append((*args, named)))
    download.bring(_settings(source), tmp_path / "data")
    assert (tmp_path / "data").is_dir()
    assert all(each[0] == tmp_path / "data" for each in asked)
    assert all(isinstance(each[-1], dict) and each[-1]["download"] for each in asked)
    assert len(asked) == (2 if source == "places365" else 1)


def test_a_download_that_fails_says_what_to_do_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(StageError, match=r"data\.download: cifar10 .*no route.*cifar-10-batches"):
        download.bring(_settings("cifar10"), tmp_path)


@pytest.mark.parametrize("source", ["imagenet", "tiny-imagenet"])
def test_a_set_that_torchvision_does_not_have_is_refused(
    tmp_path: Path, source: SourceName
) -> None:
    with pytest.raises(StageError, match=rf"torchvision has no {source}"):
        download.bring(_settings(source), tmp_path)
