"""The order of the teacher's classes, from settings, files and the teacher itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import classes, images
from tests.stages.data.trees import put


def _data(**fields: Any) -> Data:
    return Data(source="folder", image_size_px=8, **fields)


def _held_out(root: Path, names: tuple[str, ...]) -> Path:
    return put(root, [f"val/{name}/{i}.jpg" for name in names for i in range(2)])


def test_natural_order_puts_class2_before_class10(tmp_path: Path) -> None:
    root = _held_out(tmp_path, ("class1", "class10", "class2"))
    loaded = images.load(_data(classes="natural"), root).held_out
    assert loaded.classes == ("class1", "class2", "class10")
    assert loaded.y_N.tolist() == [0, 0, 2, 2, 1, 1]


def test_a_set_may_have_some_of_the_teachers_classes(tmp_path: Path) -> None:
    root = _held_out(tmp_path, ("ant", "cat"))
    dataset = images.load(_data(classes=("dog", "cat", "bee", "ant")), root)
    assert dataset.held_out.classes == ("dog", "cat", "bee", "ant")
    assert dataset.held_out.y_N.tolist() == [3, 3, 1, 1]
    assert dataset.notes == ("data.root has 2 of the teacher's 4 classes",)


def test_the_classes_that_a_teachers_file_names_are_its_order(tmp_path: Path) -> None:
    root = _held_out(tmp_path, ("ant", "cat"))
    dataset = images.load(_data(), root, known_classes=("cat", "bee", "ant"))
    assert dataset.held_out.y_N.tolist() == [2, 2, 0, 0]
    assert "in the teacher's order" in dataset.notes[0]
    capital = images.load(_data(), root, known_classes=("Cat", "Bee", "Ant"))
    assert capital.held_out.y_N.tolist() == [2, 2, 0, 0]
    other = images.load(_data(), root, known_classes=("n01", "n02"))
    assert other.held_out.classes == ("ant", "cat")
    assert "names other classes (n01, n02) than data.root (ant, cat)" in other.notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "dog\ncat\n\nant\n"),
        ("numbered.txt", "1 cat\n0 dog\n2 ant"),
        ("numbered.csv", "cat,1\ndog,0\nant,2"),
        ("table.csv", "id;name\n1;dog\n2;cat\n3;ant\n"),
        ("column.csv", 'name\n"dog"\n"cat"\n"ant"\n'),
        ("notes.txt", "# in the order of the outputs\n1. dog\n2. cat\n3. ant"),
        ("line.txt", "dog, cat, ant"),
        ("data.yaml", "nc: 3\nnames:\n  0: dog\n  1: cat\n  2: 'ant'\n"),
        ("short.yaml", "names: [dog, cat, ant]\nnc: 3\n"),
        ("printed.txt", "{0: 'dog', 1: 'cat', 2: 'ant'}"),
        ("strings.json", json.dumps({"cat": "1", "dog": "0", "ant": "2"})),
        ("list.json", json.dumps(["dog", "cat", "ant"])),
        ("class_to_idx.json", json.dumps({"cat": 1, "dog": 0, "ant": 2})),
        ("index.json", json.dumps({"0": ["n0", "dog"], "1": ["n1", "cat"], "2": ["n2", "ant"]})),
    ],
)
def test_a_file_of_any_usual_form_names_the_classes(tmp_path: Path, name: str, text: str) -> None:
    root = _held_out(tmp_path / "set", ("ant", "cat"))
    (tmp_path / name).write_text(text, encoding="utf-8")
    data = _data(classes=name)
    file = classes.file_of(data, tmp_path)
    held_out = images.load(data, root, classes_file=file).held_out
    assert held_out.classes == ("dog", "cat", "ant")
    assert held_out.y_N.tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["class 1", "class 0"],
        ["3 cats", "1 dog", "2 cats"],
        ["tench, Tinca tinca", "goldfish, Carassius"],
    ],
)
def test_names_with_numbers_and_commas_are_names(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-16")
    file = tmp_path / "names.txt"
    assert classes.of_settings(_data(classes="names.txt"), file) == [(name,) for name in names]


def test_imagenets_mapping_names_folders_and_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "LOC_synset_mapping.txt"
    file.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n", encoding="utf-8")
    wanted = [("n01440764", "tench, Tinca tinca"), ("n01443537", "goldfish")]
    assert classes.of_settings(_data(classes=file.name), file) == wanted


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        (("ant", "dog"), r"does not name 1 of 2 classes of data\.root \(cat; it names ant"),
        (("ant", "cat", "ant"), r"names a class twice \(ant\)"),
    ],
)
def test_classes_that_do_not_fit_are_named(
    tmp_path: Path, order: tuple[str, ...], wrong: str
) -> None:
    with pytest.raises(StageError, match=rf"data\.classes: {wrong}"):
        images.load(_data(classes=order), _held_out(tmp_path, ("ant", "cat")))


@pytest.mark.parametrize("text", ["{", "{}", '{"a": 1, "b": 2}', "[1, 2]"])
def test_a_file_without_names_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    with pytest.raises(StageError, match=r"data\.classes: .*c\.json\); give a name in each line"):
        classes.of_settings(_data(classes="c.json"), tmp_path / "c.json")


def test_numbers_of_any_length_sort_by_their_size() -> None:
    names = ["9", "12345678901234567890", "1234567890123456789"]
    assert sorted(names, key=classes.natural_key) == [names[0], names[2], names[1]]
