"""Unlabelled images through real stages: what each of them gets, and what validation refuses."""

from pathlib import Path

import onnx
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.errors import StageError
from pipeline.gates import real_images
from stages.engines.open_engine import read_manifest
from stages.onnxgraph import io as onnx_io
from tests.stages.tiny import TinyRun, Values, run_stages, settings
from tests.stages.unlabelled_folder import moved_digits, unlabelled_folder

FOLDER = {"source": "folder", "root": "set", "image_size_px": 8, "mean": [0.3], "std": [0.4]}
QUICK: Values = {
    "data": FOLDER,
    "teacher": {"epochs": 20},
    "distill": {"images": "images", "rounds": 4, "bank_size": 16},
    "build": {"backend": "onnxruntime", "precision": "int8", "int8": "rounded"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TinyRun]:
    """A run up to build whose unlabelled images hold one of those held out, in another form."""
    root = tmp_path_factory.mktemp("unlabelled-run")
    folder = unlabelled_folder(root / "images", 60)
    labels = load_digits().target
    for number, levels_HW in enumerate(moved_digits(200)):
        if labels[number] > 1:
            continue
        part = ("train", "val")[number % 2]
        path = root / "set" / part / f"class{labels[number]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(levels_HW.T.copy())
        image.save(path)
        if number == 1:
            image.save(folder / "again.bmp")
    return root, run_stages(settings(QUICK), root, count=4)


def test_the_student_its_file_and_its_engine_say_what_was_used(
    built: tuple[Path, TinyRun],
) -> None:
    _, run = built
    used = real_images.read(run.path("distill/images"))
    assert (used.use.learned, used.use.held_back) == (49, 12)
    assert run.metrics("distill")["images_learned"] == 49
    for name in ("distill/student", "export/onnx"):
        assert used.use.id is not None
        assert used.use.id.encode() in run.path(name).read_bytes()
    card = onnx_io.card_of(onnx.load(run.path("export/onnx")))
    assert card is not None
    assert card.real_images == used.use
    engine = run.path("build/engine")
    assert read_manifest(run.path("build/manifest"), engine).real_images == used.use


def test_int8_is_calibrated_with_the_bank_and_what_was_held_back(
    built: tuple[Path, TinyRun],
) -> None:
    _, run = built
    assert b'"images": 28' in run.path("build/candidates").read_bytes()


def test_validation_refuses_an_image_that_was_held_out_in_another_form_of_file(
    built: tuple[Path, TinyRun],
) -> None:
    root, _ = built
    with pytest.raises(StageError, match=r"^distill\.images: 1 of its .*pixels \(again\.bmp\)"):
        run_stages(settings(QUICK), root)
