"""Labels in tables and lists beside the images."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import folder
from stages.data.datasets import spec_of
from stages.data.files import ImageFiles
from stages.data.images import LoadedSource
from tests.stages.data.trees import put

DATA = Data(source="folder", image_size_px=8)


def _load(root: Path, data: Data = DATA) -> LoadedSource:
    return folder.load(data, spec_of(data), root)


def _names(loaded: LoadedSource) -> dict[str, str]:
    """Return the class of each file."""
    pairs: dict[str, str] = {}
    for x, y_N in (loaded.train, loaded.held_out):
        assert isinstance(x, ImageFiles)
        pairs |= {Path(p).name: loaded.classes[y] for p, y in zip(x.paths, y_N, strict=True)}
    return pairs


WANTED = {f"{i}.jpg": "cat" if i % 2 else "dog" for i in range(6)}


ROWS = tuple(WANTED.items())


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{name},{label}\n" for name, label in WANTED.items()),
        "id,label\n" + "".join(f"{name[:1]},{label}\n" for name, label in WANTED.items()),
        "\ufefflabel;area;file\n" + "".join(f"{c};9;old/{n}\n" for n, c in WANTED.items()),
        "".join(f"{name}\t{label}\n" for name, label in WANTED.items()),
        "# of mine\n" + "".join(f"{name} {label}\n" for name, label in WANTED.items()),
        "image|dx|age\n" + "".join(f"a\\{n[:1]}.png|{c}|9\n" for n, c in WANTED.items()),
        "i,cat,dog\n" + "".join(f"{n},{int(c == 'cat')},{c[0] == 'd':.1f}\n" for n, c in ROWS),
    ],
)
def test_a_table_says_the_class_of_each_image(tmp_path: Path, text: str) -> None:
    put(tmp_path, WANTED)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    loaded = _load(tmp_path)
    assert _names(loaded) == WANTED
    assert len(loaded.held_out.y_N) == 2
    assert loaded.notes[0].startswith("labels of 2 classes are those of labels.csv (data.labels)")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.json", WANTED),
        ("labels.json", {"labels": [[name, label] for name, label in ROWS]}),
        ("labels.json", {"dog": ["0", "2", "4"], "cat": ["1", "3", "5"]}),
        ("labels.json", [{"file_name": name, "label": [label]} for name, label in ROWS]),
        (
            "coco.json",
            {
                "images": [{"id": i, "file_name": name} for i, name in enumerate(WANTED)],
                "annotations": [{"image_id": i, "category_id": i % 2} for i in range(6)],
                "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}],
            },
        ),
    ],
)
def test_a_table_may_be_json(tmp_path: Path, name: str, content: Any) -> None:
    put(tmp_path, WANTED)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-16")
    loaded = _load(tmp_path)
    assert _names(loaded) == WANTED
    assert loaded.classes == (("dog", "cat") if name == "coco.json" else ("cat", "dog"))


def test_a_column_of_numbers_orders_the_names_beside_it(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    rows = [f"{n},{c},{12.0 if c == 'cat' else 3.0}" for n, c in ROWS]
    (tmp_path / "a.csv").write_text("\n".join(["f,class_name,class_id", *rows]), encoding="utf-8")
    assert _load(tmp_path).classes == ("dog", "cat")
    rows = [f"{n},{12.0 if c == 'cat' else 3.0}" for n, c in ROWS]
    (tmp_path / "a.csv").write_text("\n".join(["f,class_id", *rows]), encoding="utf-8")
    assert _load(tmp_path).classes == ("3", "12")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ("5.jpg,,train", r"1 of 6 rows name no image of data.root with a class"),
        ("5.jpg,NaN,train", r"1 of 6 rows name no image of data.root with a class"),
        ("4.jpg,cat,train", r"several classes or parts of one image \(4\.jpg,cat,train\)"),
        ("5.jpg,cat,holiday", r"words that name no part in its column split \(holiday\)"),
    ],
)
def test_a_row_that_cannot_be_meant_so_is_refused(tmp_path: Path, change: str, wrong: str) -> None:
    put(tmp_path, WANTED)
    rows = [f"{n},{c},{'train' if n > '1' else 'val'}" for n, c in ROWS[:-1]]
    (tmp_path / "a.csv").write_text("\n".join(["f,label,split", *rows, change]), encoding="utf-8")
    with pytest.raises(StageError, match=wrong):
        _load(tmp_path)


def test_what_a_table_leaves_out_is_noted(tmp_path: Path) -> None:
    put(tmp_path, [*WANTED, "6.jpg"])
    kinds = ("train", "train", "valid", "valid", "test", "train")
    rows = [f"{n},{c},{kind}" for (n, c), kind in zip(ROWS, kinds, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["f,label,split", *rows]), encoding="utf-8")
    loaded = _load(tmp_path)
    assert len(loaded.held_out.y_N) == 2
    assert loaded.notes[1:] == (
        "1 images of test are left out, val is held out",
        f"1 images that no row names are left out ({tmp_path / '6.jpg'})",
    )
    rows = [f"{n},{c},{number}" for number, (n, c) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["f,label,fold", *rows]), encoding="utf-8")
    assert "column fold names no train, val or test and is left out" in _load(tmp_path).notes[1]


def test_names_in_another_form_of_unicode_are_the_same_file(tmp_path: Path) -> None:
    put(tmp_path, [f"caf\u00e9{i}.jpg" for i in range(4)])
    rows = [f"cafe\u0301{i}.jpg,{i % 2}" for i in range(4)]
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    assert len(_names(_load(tmp_path))) == 4


def test_tables_may_lie_in_the_folders_of_the_parts(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("validation", 2)):
        put(tmp_path / part, [f"{i}.jpg" for i in range(count)])
        rows = [f"{i}.jpg,{'cat' if i % 2 else 'dog'}" for i in range(count)]
        text = "\n".join(["file_name,label", *rows])
        (tmp_path / part / "metadata.csv").write_text(text, encoding="utf-8")
    loaded = _load(tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert (loaded.train.y_N.tolist(), loaded.held_out.y_N.tolist()) == ([1, 0, 1, 0], [1, 0])


def test_lists_with_more_numbers_or_with_numbers_first_are_read(tmp_path: Path) -> None:
    put(tmp_path, [f"images/{c}/{c}_{i}.jpg" for c in ("cat", "dog") for i in range(3)])
    lines = [f"{i} {c}/{c}_{i % 3}.jpg" for i, c in enumerate(["cat"] * 3 + ["dog"] * 3)]
    (tmp_path / "images.txt").write_text("\n".join(lines), encoding="utf-8")
    assert _load(tmp_path).classes == ("cat", "dog")
    for part, numbers in (("trainval", (0, 1)), ("test", (2,))):
        rows = [f"{c}_{i} {k} 1 7" for k, c in enumerate(["cat", "dog"]) for i in numbers]
        (tmp_path / f"{part}.txt").write_text("\n".join(rows), encoding="utf-8")
    assert _load(tmp_path).held_out.y_N.tolist() == [0, 1]


def test_an_example_of_a_submission_is_no_table_of_labels(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    text = "\n".join(f"{n},{c}" for n, c in WANTED.items())
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    (tmp_path / "sample_submission.csv").write_text(text, encoding="utf-8")
    assert _names(_load(tmp_path)) == WANTED


def test_is_valid_says_what_is_held_out(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    rows = [f"{n},{c},{n < '2'}" for n, c in ROWS]
    (tmp_path / "a.csv").write_text("\n".join(["f,label,is_valid", *rows]), encoding="utf-8")
    assert len(_load(tmp_path).held_out.y_N) == 2


def test_a_table_that_names_no_image_is_named(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    (tmp_path / "a.csv").write_text("id,label\nx1,cat\nx2,dog\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"data\.labels \(a\.csv names no image"):
        _load(tmp_path)
    with pytest.raises(StageError, match=r"^data\.labels: names no image"):
        _load(tmp_path, Data(source="folder", image_size_px=8, labels="a.csv"))


def test_a_column_says_the_part(tmp_path: Path) -> None:
    put(tmp_path / "images", WANTED)
    rows = [f"{n},{c},{'valid' if n < '2' else 'train'}" for n, c in WANTED.items()]
    (tmp_path / "all.csv").write_text("\n".join(["file,species,split", *rows]), encoding="utf-8")
    loaded = _load(tmp_path)
    assert _names(loaded) == WANTED
    assert len(loaded.held_out.y_N) == 2


def test_lists_of_both_parts_are_followed_where_class_folders_are_there_too(
    tmp_path: Path,
) -> None:
    put(tmp_path, [f"images/{c}/{i}.jpg" for c in ("cat", "dog") for i in range(3)])
    (tmp_path / "meta").mkdir()
    for part, numbers in (("train", (0, 1)), ("test", (2,))):
        lines = [f"{c}/{i}" for c in ("cat", "dog") for i in numbers]
        (tmp_path / "meta" / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    loaded = _load(tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert loaded.train.y_N.tolist() == [0, 0, 1, 1]
    assert loaded.held_out.y_N.tolist() == [0, 1]


def test_numbers_of_classes_are_in_their_own_order(tmp_path: Path) -> None:
    put(tmp_path, [f"{k}-{i}.jpg" for k in range(11) for i in range(2)])
    for part, i in (("train", 0), ("val", 1)):
        lines = [f"{k}-{i}.jpg {k}" for k in range(11)]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    loaded = _load(tmp_path)
    assert loaded.classes == tuple(map(str, range(11)))
    assert loaded.held_out.y_N.tolist() == list(range(11))


def test_a_list_whose_labels_are_not_published_holds_nothing_out(tmp_path: Path) -> None:
    put(tmp_path / "train_images", WANTED)
    put(tmp_path / "test_images", ["x.jpg"])
    rows = [f"{name},{label}" for name, label in WANTED.items()]
    (tmp_path / "train.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    (tmp_path / "test.csv").write_text("image\nx.jpg\n", encoding="utf-8")
    assert _names(_load(tmp_path)) == WANTED


def test_what_is_not_clear_is_refused_with_the_choice(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    rows = [f"{n},1,{c}" for n, c in WANTED.items()]
    (tmp_path / "a.csv").write_text("\n".join(["file,x,z", *rows]), encoding="utf-8")
    with pytest.raises(StageError, match=r'a\.csv: has several columns .*\(x, z\); call .*"label"'):
        _load(tmp_path)
    text = "\n".join(f"{n},{c}" for n, c in WANTED.items())
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "b.csv").write_text(text, encoding="utf-8")
    with pytest.raises(StageError, match=r"several files .*\(a\.csv, b\.csv\); name one in"):
        _load(tmp_path)
    chosen = Data(source="folder", image_size_px=8, labels="b.csv")
    assert _names(_load(tmp_path, chosen)) == WANTED
    (tmp_path / "b.csv").write_text(f"{text}\nlost.jpg,cat", encoding="utf-8")
    with pytest.raises(StageError, match=r"1 of 7 rows name no image .*\(lost\.jpg,cat\)"):
        _load(tmp_path, chosen)
    with pytest.raises(StageError, match=r"data\.labels: no such file"):
        _load(tmp_path, Data(source="folder", image_size_px=8, labels="c.csv"))


def test_a_table_with_an_endless_cell_is_refused(tmp_path: Path) -> None:
    put(tmp_path, WANTED)
    (tmp_path / "labels.csv").write_text(f'file,label\n0.jpg,"{"x" * 200_000}\n')
    with pytest.raises(StageError, match=r"labels.csv: is no table \(field larger"):
        _load(tmp_path)
