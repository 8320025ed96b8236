"""A teacher by name, from the settings to the stored stage: values, keys, labels and messages."""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline.cli.main import main
from pipeline.errors import ConfigError
from pipeline.planner import Planned
from pipeline.project import Project
from pipeline.settings import Data, Settings, Teacher
from stages.catalog import declare
from stages.completed_settings import complete
from stages.networks import card as cards
from stages.networks.card import Card
from tests.stages.hubs.local_hub import (
    LocalHub,
    cache_repository,
    config,
    timm_weights,
    transformers_repository,
)

ROOT = Path(__file__).parents[3]
Register = Callable[[str], Any]
COLOURS = {"dog": (255, 0, 0), "ant": (0, 255, 0), "cat": (0, 0, 255), "bee": (255, 255, 255)}
"""Class -> colour of its images, in the order of the teacher's outputs."""
BANK = ("validate.images=bank",)


def _project(folder: Path, *changes: str) -> Project:
    path = folder / "pipeline.toml"
    path.write_text("[data]\nsource = 'folder'\n", encoding="utf-8")
    return Project.open(path, changes, declare, complete)


def _teacher(folder: Path, *changes: str) -> Planned:
    return _project(folder, *changes).plan(["teacher"])[0]


def _run(folder: Path, *changes: str, exit_code: int = 0) -> None:
    (folder / "pipeline.toml").write_text("[data]\nsource = 'folder'\n", encoding="utf-8")
    options = [part for change in changes for part in ("--set", change)]
    with pytest.raises(SystemExit) as caught:
        main(["run", "teacher", "--config", str(folder / "pipeline.toml"), *options])
    assert caught.value.code == exit_code


def _card(folder: Path) -> Card:
    (path,) = folder.glob(".madpipe/entries/teacher/*/teacher.safetensors")
    card = cards.read(path)
    assert card is not None
    return card


def _by_colour() -> bytes:
    """Return weights of the tiny network that tell the four colours apart."""
    kernel = torch.zeros(8, 3, 3, 3)
    kernel[:3, :, 1, 1] = torch.eye(3)
    head = torch.zeros(4, 8)
    head[:3, :3] = 2 * torch.eye(3) - 1
    head[3, :3] = 1
    state = {
        "0.weight": kernel,
        "0.bias": torch.zeros(8),
        "4.weight": head,
        "4.bias": torch.tensor([0.0, 0.0, 0.0, -4.0]),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _images(folder: Path) -> None:
    for name, colour in COLOURS.items():
        for number in range(4):
            path = folder / "data" / "val" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (48, 60), colour).save(path)


@pytest.fixture
def tiny_cached(caches: Path, tiny_network: Register) -> Path:
    """Return the cached file of the tiny network's weights."""
    tiny_network("http://localhost:1/tiny-0123abcd.pth")
    path = caches / "torch" / "hub" / "checkpoints" / "tiny-0123abcd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(_by_colour())
    return path


TINY = "teacher.weights=torchvision:tiny_net.V1"


@pytest.mark.usefixtures("tiny_cached")
def test_values_and_labels_of_named_weights_are_those_of_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _images(tmp_path)
    _run(tmp_path, TINY)
    card = _card(tmp_path)
    assert (card.arch, card.image_size_px, card.resize_px) == ("torchvision:tiny_net", 32, 40)
    assert (card.mean, card.std) == ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert card.classes == tuple(COLOURS)
    kinds = {name: origin.kind for name, origin in card.origins.items()}
    assert set(kinds) >= {"image_size_px", "mean", "std", "resize_px", "interpolation", "classes"}
    assert set(kinds.values()) == {"hub"}
    output = capsys.readouterr()
    text = output.out + output.err
    assert "the hub's record of the weights says" in text
    assert "image_size_px 32" in text
    assert "assumed" not in text


@pytest.mark.usefixtures("tiny_cached")
def test_settings_come_before_the_hub(tmp_path: Path) -> None:
    _run(tmp_path, TINY, *BANK, "data.image_size_px=48", "data.mean=[0.5,0.5,0.5]",
         "data.std=[0.5,0.5,0.5]")  # fmt: skip
    card = _card(tmp_path)
    assert (card.image_size_px, card.resize_px, card.mean[0]) == (48, None, 0.5)
    kinds = {name: origin.kind for name, origin in card.origins.items()}
    assert kinds["image_size_px"] == kinds["mean"] == "settings"
    assert kinds["interpolation"] == kinds["classes"] == "hub"


@pytest.mark.usefixtures("tiny_cached")
def test_names_of_the_same_bytes_hit_the_same_entry(tmp_path: Path) -> None:
    _run(tmp_path, TINY, *BANK)
    for changes in (
        (TINY, "teacher.download=true"),
        ("teacher.weights=torchvision:tiny_net.DEFAULT",),
        ("teacher.weights=torchvision:V1", "teacher.arch=torchvision:tiny_net"),
    ):
        assert _teacher(tmp_path, *changes, *BANK).action == "hit"


def test_timm_and_the_hub_name_the_same_entry(tmp_path: Path, caches: Path) -> None:
    repo, weights = "timm/test_resnet.r160_in1k", timm_weights(1000)
    named = _project(tmp_path, "teacher.weights=timm:test_resnet.r160_in1k")
    classes = named.stages[0].values["named_weights"]["classes"]
    pretrained = {
        "input_size": [3, 160, 160], "crop_pct": 0.95, "interpolation": "bilinear",
        "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    text = config(num_classes=1000, label_names=list(classes), pretrained_cfg=pretrained)
    files = {"config.json": text, "model.safetensors": weights}
    cache_repository(caches / "hf", repo, files)
    by_timm = _teacher(tmp_path, "teacher.weights=timm:test_resnet.r160_in1k", *BANK)
    by_hub = _teacher(tmp_path, f"teacher.weights=hf:{repo}", *BANK)
    assert by_timm.key_document == by_hub.key_document
    assert by_timm.key == by_hub.key


def test_other_bytes_under_the_same_name_miss(tmp_path: Path, tiny_cached: Path) -> None:
    before = _teacher(tmp_path, TINY, *BANK)
    tiny_cached.write_bytes(_by_colour() + b" ")
    assert _teacher(tmp_path, TINY, *BANK).key != before.key


@pytest.mark.usefixtures("tiny_cached")
def test_the_name_is_in_no_key(tmp_path: Path) -> None:
    document = str(_teacher(tmp_path, TINY, *BANK).key_document)
    assert "V1" not in document
    assert "tiny-" not in document
    student = "student.weights=torchvision:tiny_net.V1"
    stages = {stage.name: stage for stage in _project(tmp_path, student, TINY, *BANK).stages}
    assert "student.arch" in stages["distill"].settings
    assert not [name for name in stages["distill"].settings if name.startswith("student.w")]


@pytest.mark.usefixtures("tiny_cached")
def test_a_student_starts_from_named_weights_of_its_own_architecture(tmp_path: Path) -> None:
    project = _project(tmp_path, "student.weights=torchvision:tiny_net.V1", TINY, *BANK)
    assert project.settings.student.arch == "torchvision:tiny_net"
    distill = next(stage for stage in project.stages if stage.name == "distill")
    assert distill.externals["student_weights"].path.name == "tiny-0123abcd.pth"


def test_an_absent_file_is_a_fault_that_says_what_to_do(
    tmp_path: Path, caches: Path, tiny_network: Register
) -> None:
    tiny_network("http://localhost:1/tiny-0123abcd.pth")
    with pytest.raises(ConfigError) as caught:
        _teacher(tmp_path, TINY, *BANK)
    text = str(caught.value)
    assert "--set teacher.weights: no such file or folder" in text
    assert "with a network set teacher.download = true; without one put" in text
    assert str(caches / "torch" / "hub" / "checkpoints") in text
    with pytest.raises(ConfigError, match="madpipe run downloads it; without one run hf download"):
        _teacher(tmp_path, "teacher.weights=hf:o/net", "teacher.download=true", *BANK)


def test_nothing_is_asked_of_a_hub_unless_a_download_was(tmp_path: Path, hub: LocalHub) -> None:
    hub.repositories["o/net"] = {"config.json": config(), "model.safetensors": timm_weights()}
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK, exit_code=2)
    assert not hub.requests
    _run(tmp_path, "teacher.weights=hf:o/net", "teacher.download=true", *BANK)
    assert hub.requests
    hub.requests.clear()
    _run(tmp_path, "teacher.weights=hf:o/net", "teacher.download=true", *BANK)
    assert not hub.requests
    card = _card(tmp_path)
    assert (card.arch, card.image_size_px) == ("timm:test_resnet", 32)
    assert card.classes == ("ant", "bee", "cat", "dog")


def test_without_a_network_a_download_ends_as_a_missing_file_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path, "teacher.weights=hf:o/net", "teacher.download=true", *BANK, exit_code=2)
    assert "teacher.weights: cannot be downloaded (o/net@main: ConnectionRefused" in (
        capsys.readouterr().err
    )


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('ran')",)


def test_a_pickle_that_could_run_code_is_refused(
    tmp_path: Path, caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harmful = pickle.dumps({"weight": _Harmful()}, protocol=2)
    files = {"config.json": config(), "pytorch_model.bin": harmful}
    cache_repository(caches / "hf", "o/net", files)
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK, exit_code=1)
    assert "holds more than weights and is not loaded" in capsys.readouterr().err


def test_a_torch_checkpoint_of_a_repository_is_read(tmp_path: Path, caches: Path) -> None:
    import safetensors.torch

    buffer = io.BytesIO()
    torch.save(safetensors.torch.load(timm_weights()), buffer)
    files = {"config.json": config(), "pytorch_model.bin": buffer.getvalue()}
    cache_repository(caches / "hf", "o/net", files)
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK)
    assert _card(tmp_path).num_classes == 4


def test_a_classifier_of_transformers_is_a_teacher_by_name(tmp_path: Path, caches: Path) -> None:
    cache_repository(caches / "hf", "o/net", transformers_repository("vit"))
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK)
    card = _card(tmp_path)
    assert (card.arch, card.image_size_px, card.resize_px) == ("transformers:vit", 32, 40)
    assert card.classes == ("ant", "bee", "cat", "dog")
    assert card.origins["mean"].kind == "hub"


def test_weights_for_other_classes_than_the_config_says_are_refused(
    tmp_path: Path, caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"config.json": config(), "model.safetensors": timm_weights(7)}
    cache_repository(caches / "hf", "o/net", files)
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK, exit_code=1)
    assert "has 7 outputs, for which the hub names 4 classes" in capsys.readouterr().err


def test_an_architecture_that_timm_does_not_have_is_refused(
    tmp_path: Path, caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"config.json": config(architecture="resnt"), "model.safetensors": timm_weights()}
    cache_repository(caches / "hf", "o/net", files)
    _run(tmp_path, "teacher.weights=hf:o/net", *BANK, exit_code=1)
    assert "timm does not build it" in capsys.readouterr().err


def test_a_revision_that_is_not_cached_is_missing(tmp_path: Path, caches: Path) -> None:
    files = {"config.json": config(), "model.safetensors": timm_weights()}
    cache_repository(caches / "hf", "o/net", files)
    with pytest.raises(ConfigError, match="run hf download o/net --revision v2"):
        _teacher(tmp_path, "teacher.weights=hf:o/net@v2", *BANK)


_PROGRAM = """
import sys
from pipeline.cli.main import main
try:
    main(["why", "teacher", "--config", sys.argv[1], "--set", sys.argv[2], "--set", sys.argv[3]])
except SystemExit as exit_:
    print(*{"torch", "torchvision", "timm", "huggingface_hub", "numpy"} & set(sys.modules))
"""


def test_the_plan_of_a_cached_run_imports_no_library(tmp_path: Path, caches: Path) -> None:
    name, repo = "timm:test_resnet.r160_in1k", "timm/test_resnet.r160_in1k"
    cache_repository(caches / "hf", repo, {"model.safetensors": timm_weights(1000)})
    _run(tmp_path, f"teacher.weights={name}", *BANK)
    path = str(tmp_path / "pipeline.toml")
    program = [sys.executable, "-c", _PROGRAM, path, f"teacher.weights={name}", *BANK]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["teacher: stored, nothing differs", ""]


@pytest.mark.usefixtures("tiny_cached")
def test_sizes_that_contradict_named_ones_are_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.resize_px: is less than is cut out \(20; "):
        _project(tmp_path, TINY, "data.resize_px=20")


def test_images_that_are_not_square_are_read_along(tmp_path: Path, caches: Path) -> None:
    text = config(model_args={"img_size": [64, 48]})
    cache_repository(caches / "hf", "o/net", {"config.json": text})
    settings = {
        size: complete(
            Settings(data=Data(image_size_px=size), teacher=Teacher(weights="hf:o/net")),
            tmp_path,
        ).data
        for size in (None, 64)
    }
    assert (settings[None].image_size_px, settings[None].resize_px) == ((64, 48), 60)
    assert (settings[64].image_size_px, settings[64].resize_px) == (64, None)


def test_a_download_is_for_weights_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher.download: is for weights by name.*t.pth"):
        _project(tmp_path, "teacher.weights=t.pth", "teacher.download=true", *BANK)
