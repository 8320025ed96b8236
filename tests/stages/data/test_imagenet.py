"""ImageNet in the folders that torchvision unpacks it into."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import imagenet, images
from stages.data.datasets import spec_of
from tests.stages.data.trees import put

DATA = Data(source="imagenet", image_size_px=8)
WNIDS = [f"n{number:08d}" for number in range(1000)]


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation part with an image of each class."""
    root = tmp_path_factory.mktemp("imagenet")
    return put(root, [f"val/{wnid}/ILSVRC2012_val.JPEG" for wnid in WNIDS])


def test_labels_and_names_are_in_the_order_of_torchvisions_networks(validation: Path) -> None:
    _, (_, y_held), classes, _ = imagenet.load(DATA, spec_of(DATA), validation)
    assert y_held.tolist() == list(range(1000))
    # n01440764 is the first and n15075141 the last WordNet number of the set.
    assert (classes[0], classes[999], len(classes)) == ("tench", "toilet tissue", 1000)


def test_folders_of_other_names_keep_them(tmp_path: Path) -> None:
    put(tmp_path, [f"val/class {number:04d}/1.JPEG" for number in range(1000)])
    assert imagenet.load(DATA, spec_of(DATA), tmp_path)[2][0] == "class 0000"


def test_a_limit_keeps_a_fixed_draw_of_the_validation_part(validation: Path) -> None:
    limited = Data(source="imagenet", image_size_px=8, held_out_limit=20)
    one, other = (images.load(limited, validation).held_out.y_N.tolist() for _ in range(2))
    assert one == other
    assert len(set(one)) == 20
    assert max(one) > 500  # not just the first ones


def test_the_error_of_an_absent_set_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"holds no imagenet .*train/WNID/ and val/WNID/"):
        imagenet.load(DATA, spec_of(DATA), tmp_path)


def test_a_part_of_the_classes_is_refused(tmp_path: Path) -> None:
    put(tmp_path, [f"val/{wnid}/1.JPEG" for wnid in WNIDS[:2]])
    with pytest.raises(StageError, match=r'has 2 classes where imagenet has 1000.*"folder"'):
        imagenet.load(DATA, spec_of(DATA), tmp_path)
