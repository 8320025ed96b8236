"""What is wrong with unlabelled images is said before the first stage runs."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import StageError
from pipeline.planner import Planned
from stages.data import overlap
from stages.preflight_images import NeedsImages
from tests.stages.tiny import run_stages, settings
from tests.stages.unlabelled_folder import unlabelled_folder


def test_before_a_teacher_is_trained_images_of_the_set_are_refused(tmp_path: Path) -> None:
    root, folder = tmp_path / "set", unlabelled_folder(tmp_path / "images", 60, flat=True)
    for number, path in enumerate(sorted(folder.iterdir())[:20]):
        copy = root / f"class{number % 2}" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    data = {"source": "folder", "root": "set", "image_size_px": 8, "mean": [0.3], "std": [0.4]}
    chosen = settings({"data": data, "distill": {"images": "images"}})
    run = run_stages(chosen, tmp_path, count=0)
    waiting = [Planned(stage, "wait", ()) for stage in run.stages]
    with pytest.raises(StageError, match=r"^distill\.images: \d+ of its images are held out"):
        run.runner.check_requirements(waiting)
    assert run.runner.current is not None
    assert run.runner.current.stage.name == "distill"


def test_validation_with_a_stored_student_is_checked_as_well(tmp_path: Path) -> None:
    run = run_stages(settings({"distill": {"images": "images"}}), tmp_path, count=0)
    stages = {stage.name: stage for stage in run.stages}
    needs = [item for item in stages["validate"].requires if isinstance(item, NeedsImages)]
    assert needs == [item for item in stages["distill"].requires if isinstance(item, NeedsImages)]
    assert needs[0].folder == tmp_path / "images"


def test_with_the_bank_alone_nothing_labelled_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(overlap, "check")
    needs = NeedsImages(folder=unlabelled_folder(tmp_path, 4), data=None, root=tmp_path)
    needs.check()


def test_images_that_are_far_too_small_are_refused(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    chosen = settings({"distill": {"images": str(tmp_path)}})
    needs = NeedsImages(folder=tmp_path, data=chosen.data, root=tmp_path)
    with pytest.raises(StageError, match=r"far smaller .*dot\.png: 1x1"):
        needs.check()
