"""Names of classes in the weights files that have them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages import class_lists
from stages.networks import card as cards
from stages.networks import class_names, weights
from stages.networks.describe import card_for
from stages.networks.facts import Facts
from tests.stages.tiny import card, resnet8

WEIGHTS = {"fc.weight": torch.zeros(3, 2)}


@pytest.mark.parametrize(
    "names",
    [
        {"classes": ["dog", "cat", "ant"]},
        {"class_to_idx": {"cat": 1, "dog": 0, "ant": 2}},
        {"meta": {"idx_to_class": {0: "dog", 1: "cat", 2: "ant"}}},
        {"config": {"id2label": {"0": "dog", "1": "cat", "2": "ant"}}},
    ],
)
def test_names_beside_the_weights_are_in_the_order_of_the_outputs(
    tmp_path: Path, names: dict[str, Any]
) -> None:
    torch.save({"state_dict": WEIGHTS, **names}, tmp_path / "t.pth")
    assert class_names.known(tmp_path / "t.pth") == ("dog", "cat", "ant")


def test_a_card_has_names_but_for_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    weights.save(path, resnet8(), cards.metadata(card()))
    assert class_names.known(path) == ()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"\x80 torn"])
def test_a_file_without_names_has_none(tmp_path: Path, content: bytes) -> None:
    torch.save(WEIGHTS, tmp_path / "t.pth")
    assert class_names.known(tmp_path / "t.pth") == ()
    (tmp_path / "torn.pth").write_bytes(content)
    assert class_names.known(tmp_path / "torn.pth") == ()


@pytest.mark.parametrize(
    "content", [[], {}, {"a": 0, "b": 0}, {"a": 1, "b": 2}, {"0": 5}, [1, 2], "cat", [[]]]
)
def test_other_forms_are_no_classes(content: object) -> None:
    assert class_lists.ordered(content) is None


def test_a_checkpoint_with_names_is_described_by_them(tmp_path: Path) -> None:
    path = tmp_path / "t.pth"
    names = [f"digit {number}" for number in range(10)]
    tensors = resnet8().state_dict()
    torch.save({"state_dict": tensors, "classes": names}, path)
    described = card_for(path, tensors, Facts(arch="resnet8", image_size_px=8))
    assert described.classes == tuple(names)
    assert described.origins["classes"].kind == "file"
    torch.save({"state_dict": tensors, "classes": names[:9]}, path)
    described = card_for(path, tensors, Facts(arch="resnet8", image_size_px=8))
    assert described.classes == tuple(map(str, range(10)))


def test_a_list_with_an_endless_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text(f'a,"{"x" * 200_000}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"is no table \(.*field larger"):
        class_lists.read(path, ValueError)


def test_very_long_lines_are_not_searched_for_numbers(tmp_path: Path) -> None:
    # Searched for a number behind a name, these took minutes.
    path = tmp_path / "names.txt"
    path.write_text("".join(f"digit {n}{',' * 18_000}x\n" for n in range(10)), encoding="utf-8")
    assert len(class_lists.read(path, ValueError)) == 10
