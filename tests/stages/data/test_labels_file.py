"""Labels in tables and lists beside the images."""

from pathlib import Path

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


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{name},{label}\n" for name, label in WANTED.items()),
        "id,label\n" + "".join(f"{name[:1]},{label}\n" for name, label in WANTED.items()),
        "\ufefflabel;area;file\n" + "".join(f"{c};9;old/{n}\n" for n, c in WANTED.items()),
        "".join(f"{name}\t{label}\n" for name, label in WANTED.items()),
    ],
)
def test_a_table_says_the_class_of_each_image(tmp_path: Path, text: str) -> None:
    put(tmp_path, WANTED)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    loaded = _load(tmp_path)
    assert _names(loaded) == WANTED
    assert len(loaded.held_out.y_N) == 2
    assert loaded.notes[0].startswith("labels of 2 classes are those of labels.csv (data.labels)")


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
