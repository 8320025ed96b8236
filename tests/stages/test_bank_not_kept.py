"""`bank.keep = false`: no synthetic image stays, and all that needs some comes out the same."""

import base64
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.multi_scale import build_generator
from pipeline.config.template import render
from pipeline.errors import StageError
from stages import bank_recipe, drawn_bank, image_bank
from stages.networks import weights
from stages.validate.images import bank_images
from tests.stages.tiny import TinyRun, card, settings

Madpipe = Callable[..., tuple[int, str, str]]
STAGES = ("teacher", "distill", "export", "build", "validate")
PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"PK\x03\x04", b"\x93NUMPY", b"GIF8", b"RIFF")
"""How files of pictures and of arrays begin."""


def _entry(root: Path, stage: str) -> Path:
    (entry,) = (path for path in (root / ".madpipe" / "entries" / stage).iterdir() if path.is_dir())
    return entry


def _forms(x_NHWC: NDArray[np.uint8]) -> list[bytes]:
    """Return an image as bytes or floats, channels last or first, and as text."""
    x_NCHW = np.ascontiguousarray(x_NHWC.transpose(2, 0, 1))
    forms = [x.tobytes() for x in (x_NHWC, x_NCHW, (x_NCHW / 255).astype(np.float32))]
    return [*forms, base64.b64encode(forms[0])[:-4]]


def _decoded(path: Path) -> bytes:
    """Return the bytes of a file and, after them, those of the arrays or of the picture in it."""
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content += b"".join(archive.read(name) for name in archive.namelist())
    elif content.startswith(PICTURES):
        with Image.open(path) as image:
            content += np.asarray(image).tobytes()
    return content


@pytest.mark.usefixtures("one_thread")
def test_no_image_of_a_run_is_in_its_folder_and_its_results_are_those_of_a_kept_bank(
    tiny: TinyRun, tmp_path: Path, madpipe: Madpipe
) -> None:
    # The teacher is that of the run with a bank, which is the same.
    shutil.copytree(
        tiny.path("teacher/weights").parents[3], tmp_path / ".madpipe", dirs_exist_ok=True
    )
    for stage in STAGES[1:]:
        shutil.rmtree(tmp_path / ".madpipe" / "entries" / stage)
    chosen = msgspec.structs.replace(settings({"bank": {"keep": False}}), gates={})
    (tmp_path / "pipeline.toml").write_text(render(chosen), encoding="utf-8")
    assert madpipe("run", "all")[0] == 0
    assert madpipe("report", "--format", "html", "--out", "report.html")[0] == 0

    distill = _entry(tmp_path, "distill")
    x_NHWC = image_bank.load_array(distill / "bank.json", "here", remedy="")
    with np.load(tiny.path("distill/bank")) as archive:
        np.testing.assert_array_equal(x_NHWC, archive["x"])
    for output in ("distill/student", "export/onnx", "build/engine"):
        stage = output.partition("/")[0]
        stored = tiny.path(output)
        assert (_entry(tmp_path, stage) / stored.name).read_bytes() == stored.read_bytes()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"student.onnx", "events.jsonl", "report.html"} <= {path.name for path in files}
    # Pictures of validate may be of held-out images, which are looked at below.
    contents = {str(path.relative_to(tmp_path)): _decoded(path) for path in files}
    assert not [
        name
        for path, (name, content) in zip(files, contents.items(), strict=True)
        if path.parent.parent.name != "validate" and content.startswith(PICTURES)
    ]
    assert b"Synthetic samples" not in contents["report.html"]
    patterned = [x_HWC for x_HWC in x_NHWC if len(np.unique(x_HWC)) > 8]
    assert len(patterned) > 8
    forms = [form for x_HWC in patterned for form in _forms(x_HWC)]
    assert not [
        name for name, content in contents.items() if any(form in content for form in forms)
    ]

    code, _, error = madpipe(
        "build", "--onnx", str(_entry(tmp_path, "export") / "student.onnx"), "--precision", "int8",
        "--calibration", str(distill / "bank.npz"), "--out", "engine",
    )  # fmt: skip
    assert code == 2
    assert "keeps no images (bank.keep = false" in error
    assert f"name {distill / 'bank.json'}" in error


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe of images of two generators, one of which normalises by its averages."""
    torch.manual_seed(0)
    files = {}
    for name, kind, count in (("a", "uncond", 5), ("b", "sum", 3)):
        generator = build_generator(
            noise_dim=4, image_size_px=8, channels=2, width=4, kind=kind,
            num_classes=3 if kind == "sum" else 0,
        )  # fmt: skip
        path = tmp_path / f"{name}.safetensors"
        weights.save(path, generator, generator.metadata())
        files[path] = count
    averaged = frozenset({tmp_path / "b.safetensors"})
    written = drawn_bank.recipe_of(files, seed=1, batch_size=4, averaged=averaged)
    drawn = drawn_bank.draw(written, tmp_path, "here")
    bank_recipe.write(tmp_path / "bank.json", drawn_bank.completed(written, drawn))
    return tmp_path / "bank.json"


def test_the_same_images_are_drawn_each_time_and_their_number_changes_none(recipe: Path) -> None:
    notes: list[str] = []
    x_NHWC = image_bank.load_array(recipe, "here", remedy="", on_note=notes.append)
    assert x_NHWC.shape == (8, 8, 8, 2)
    assert x_NHWC.dtype == np.uint8
    assert len(np.unique(x_NHWC, axis=0)) == 8
    again = image_bank.load(recipe, "here")
    np.testing.assert_array_equal(again, x_NHWC.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    read = bank_recipe.read(recipe, "here")
    assert [source.by_batch for source in read.sources] == [True, False]
    fewer = [msgspec.structs.replace(source, count=2) for source in read.sources]
    few = drawn_bank.draw(
        msgspec.structs.replace(read, sources=tuple(fewer)), recipe.parent, "here"
    )
    np.testing.assert_array_equal(image_bank.as_bytes(torch.cat(few)), x_NHWC[[0, 1, 5, 6]])
    assert notes == []


def test_images_that_differ_from_the_first_ones_are_noted(recipe: Path) -> None:
    stored = json.loads(recipe.read_bytes())
    recipe.write_text(json.dumps(stored | {"sha256": "0" * 64}), encoding="utf-8")
    notes: list[str] = []
    image_bank.load(recipe, "the bank", notes.append)
    assert notes[0].startswith("the bank: the images that were drawn again are not bit for bit")


def test_a_generator_that_is_gone_or_another_is_refused(recipe: Path) -> None:
    path = recipe.with_name("a.safetensors")
    shutil.copy(recipe.with_name("b.safetensors"), path)
    with pytest.raises(StageError, match=r"^here: is to be drawn from a generator that is not"):
        image_bank.load(recipe, "here")
    path.unlink()
    with pytest.raises(StageError, match=r"^here: is to be drawn from a generator that is not"):
        image_bank.load(recipe, "here")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "madpipe.bank/2"},
        {"batch_size": 0},
        {"sources": [{"file": "../a.safetensors", "sha256": "0", "count": 1}]},
        {"sources": [{"file": "a.safetensors", "sha256": "0", "count": 10**9}]},
    ],
)
def test_what_is_no_recipe_is_refused(recipe: Path, change: dict[str, object]) -> None:
    recipe.write_text(json.dumps(json.loads(recipe.read_bytes()) | change), encoding="utf-8")
    with pytest.raises(StageError, match=r"^here: does not say how to draw images"):
        image_bank.load(recipe, "here")
    with pytest.raises(StageError, match=r"^here: does not say how to draw images"):
        image_bank.load(recipe.with_name("none.json"), "here")


def test_the_bank_of_a_run_that_keeps_none_is_missed_with_the_reason(recipe: Path) -> None:
    with pytest.raises(StageError, match=r"keeps no images .*; name .*bank\.json, by which"):
        image_bank.load(recipe.with_name("bank.npz"), "here")


def test_a_file_that_is_no_generator_is_refused(tmp_path: Path) -> None:
    from stages import generators

    path = tmp_path / "a.safetensors"
    with pytest.raises(StageError, match=r"^g: is no generator"):
        generators.load(path, "g")
    weights.save(path, torch.nn.Linear(2, 2), {})
    with pytest.raises(StageError, match=r"^g: is no generator of a distill run"):
        generators.load(path, "g")
    sizes = {"noise_dim": 10**9, "image_size_px": 8, "channels": 1, "width": 10**9}
    for arguments in ({}, {"x": 1}, {"noise_dim": "a"}, sizes, sizes | {"width": -1}):
        text = {"madpipe.generator": json.dumps(arguments)}
        weights.save(path, torch.nn.Linear(2, 2), text)
        with pytest.raises(StageError, match=r"^g: describes no generator that its weights fit"):
            generators.load(path, "g")


def test_a_bank_that_is_kept_would_be_noticed(tiny: TinyRun) -> None:
    content = _decoded(tiny.path("distill/bank"))
    x_NHWC = image_bank.load_array(tiny.path("distill/bank"), "here", remedy="")
    assert content.startswith(PICTURES)
    assert _decoded(tiny.path("distill/picture")).startswith(PICTURES)
    assert all(_forms(x_HWC)[0] in content for x_HWC in x_NHWC)


def test_validation_takes_a_recipe_in_place_of_a_bank(recipe: Path) -> None:
    images = bank_images(recipe, card(channels=2, mean=(0.5, 0.5), std=(0.5, 0.5)))
    assert len(images.y_N) == 8
    x_BCHW = images.batch(slice(0, 8), torch.device("cpu"))
    np.testing.assert_array_equal(x_BCHW.numpy(), image_bank.load(recipe, "here"))
