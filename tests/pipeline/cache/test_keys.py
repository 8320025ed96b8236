"""The key of a stage: all that decides its result, and nothing else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.cache.digests import DigestCache
from pipeline.cache.keys import (
    KeyDocument,
    differences,
    external_digest,
    file_sha256,
    key_document,
    key_of,
)
from pipeline.errors import SettingsFault, StageError
from pipeline.settings import Data, Distill, Gate, Run, Settings
from pipeline.stage import External, Stage

DocumentOf = Callable[..., KeyDocument]

DEFAULTS = Settings()
DOCUMENT: KeyDocument = {
    "schema": 1,
    "stage": "distill",
    "python": "3.11",
    "settings": {"seed": 0, "distill": {"alpha": 0.95, "rounds": 1000, "method": "mad"}},
    "inputs": {"teacher/weights": "00" * 32},
    "externals": {},
    "outputs": {"student": "student.safetensors"},
    "code": {"stages.distill.stage": "11" * 32},
    "packages": {"torch": "2.11.0", "tensorrt": "absent"},
    "facts": {"gpu": "NVIDIA H200 (9.0)"},
}


def reversed_deep(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: reversed_deep(value[name]) for name in reversed(list(value))}


@pytest.fixture
def document_of(code: Callable[..., None]) -> DocumentOf:
    """Build the key document of a fake stage with some of its declaration changed."""
    code("def run(ctx): ...\n")
    base = Stage(
        name="make",
        run="fakestages:run",
        settings=("seed", "distill", "data.source"),
        outputs={"out": "out.bin"},
    )

    def make(of: Settings = DEFAULTS, **changes: Any) -> KeyDocument:
        inputs = dict.fromkeys(changes.get("inputs", ()), "ab" * 32)
        fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
        return key_document(Stage(**fields | changes), of, inputs, DigestCache())

    return make


# These keys name entries that people hold: a change here makes all of them run again.
@pytest.mark.parametrize(
    ("document", "key"),
    [
        (DOCUMENT, "5a762c1a4025862ca9414c5da01524ad48b3f0fe8755598e8ed2871918558d89"),
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            {"a": "é", "b": None, "c": [1, 2.5, True]},
            "bb0004f244134dd7fe1d72ec9db26aa60b141c3f66f5ef19e13411f940397c94",
        ),
    ],
)
def test_key_of_a_document_is_the_same_for_ever(document: KeyDocument, key: str) -> None:
    assert key_of(document) == key


def test_key_of_a_stage_is_the_same_for_ever(document_of: DocumentOf) -> None:
    document = document_of(settings=("seed", "student")) | {"python": "3.11"}
    assert document["settings"] == {
        "seed": 0,
        "student": {"arch": "resnet8", "weights": None, "download": False},
    }
    assert key_of(document) == "6732fd8ab77f102b4be36a548776448b52bb01963d5b91ab664888449be6738d"


def test_order_of_the_document_does_not_count() -> None:
    assert key_of(reversed_deep(DOCUMENT)) == key_of(DOCUMENT)


def test_number_that_is_not_finite_has_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"x": float("nan")})


def test_value_without_a_canonical_form_has_no_key() -> None:
    with pytest.raises(TypeError):
        key_of({"x": {1, 2}})


def test_document_has_every_part_of_the_declaration(
    document_of: DocumentOf,
) -> None:
    settings = Settings(distill=Distill(rounds=1000))
    document = document_of(
        settings, packages=("msgspec", "no-such-package"), facts=("cpu",), inputs=("a/b",)
    )
    assert list(document) == [*DOCUMENT]
    assert document["settings"]["data.source"] == "digits"
    assert document["settings"]["distill"]["rounds"] == 1000
    assert document["inputs"] == {"a/b": "ab" * 32}
    assert document["packages"]["no-such-package"] == "absent"
    assert document["packages"]["msgspec"] == msgspec.__version__
    assert list(document["code"]) == ["fakestages"]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(seed=1),
        Settings(distill=Distill(rounds=999)),
        Settings(distill=Distill(alpha=0.5)),
        Settings(data=Data(source="cifar10")),
    ],
)
def test_declared_setting_changes_the_key(document_of: DocumentOf, settings: Settings) -> None:
    assert key_of(document_of(settings)) != key_of(document_of())


@pytest.mark.parametrize(
    "settings",
    [
        Settings(data=Data(root="elsewhere")),
        Settings(gates={"speedup": Gate(min=9.0)}),
        Settings(run=Run(lock_wait_s=0.0)),
    ],
)
def test_undeclared_setting_keeps_the_key(document_of: DocumentOf, settings: Settings) -> None:
    assert key_of(document_of(settings)) == key_of(document_of())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"outputs": {"out": "renamed.bin"}},
        {"outputs": {"out": "out.bin", "more": "more.bin"}},
        {"settings": ("seed",)},
        {"inputs": ("a/b",)},
        {"packages": ("msgspec",)},
        {"facts": ("cpu",)},
        {"code": ("models.registry",)},
    ],
)
def test_every_part_of_the_declaration_changes_the_key(
    document_of: DocumentOf, changes: dict[str, Any]
) -> None:
    assert key_of(document_of(**changes)) != key_of(document_of())


def test_outside_file_counts_by_its_bytes_not_its_path(
    document_of: DocumentOf, tmp_path: Path
) -> None:
    keys = []
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
        external = External(path=tmp_path / name, needed_by="data.root")
        keys.append(key_of(document_of(externals={"data": external})))
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_missing_outside_file_names_the_setting_that_needs_it(tmp_path: Path) -> None:
    external = External(path=tmp_path / "gone", needed_by="teacher.weights")
    with pytest.raises(StageError) as caught:
        external_digest(external, DigestCache())
    assert str(caught.value) == (
        f"teacher.weights: no such file or folder ({tmp_path / 'gone'}); "
        "put it there or correct the path"
    )


def test_outside_folder_counts_by_names_and_bytes(tmp_path: Path) -> None:
    folder = External(path=tmp_path, needed_by="data.root")
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.png").write_bytes(b"one")
    first = external_digest(folder, DigestCache())
    os.utime(tmp_path / "cats" / "1.png", (1, 1))
    assert external_digest(folder, DigestCache()) == first
    (tmp_path / "cats" / "1.png").write_bytes(b"two")
    changed = external_digest(folder, DigestCache())
    (tmp_path / "cats" / "1.png").write_bytes(b"one")
    (tmp_path / "cats" / "1.png").rename(tmp_path / "cats" / "2.png")
    assert len({first, changed, external_digest(folder, DigestCache())}) == 3


def test_outside_folder_may_have_names_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"one")
    folder = External(path=tmp_path, needed_by="data.root")
    assert len(external_digest(folder, DigestCache())) == 64


def test_touched_file_of_a_folder_is_read_again_despite_the_cache(tmp_path: Path) -> None:
    digest_cache = DigestCache()
    folder = External(path=tmp_path, needed_by="data.root")
    (tmp_path / "1.png").write_bytes(b"one")
    first = external_digest(folder, digest_cache)
    (tmp_path / "1.png").write_bytes(b"two")
    os.utime(tmp_path / "1.png", (1, 1))
    assert external_digest(folder, digest_cache) != first


def test_digest_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_differences_are_listed_leaf_by_leaf() -> None:
    changed = DOCUMENT | {
        "python": "3.12",
        "settings": {"seed": 0, "distill": {"alpha": 0.9, "rounds": 1000, "method": "abm"}},
        "inputs": {"teacher/weights": "ff" * 32},
        "packages": {"torch": "2.11.0", "onnx": "1.20"},
    }
    assert differences(DOCUMENT, changed) == [
        "inputs.teacher/weights: 00000000 -> ffffffff",
        'packages.onnx: (absent) -> "1.20"',
        'packages.tensorrt: "absent" -> (absent)',
        'python: "3.11" -> "3.12"',
        "settings.distill.alpha: 0.95 -> 0.9",
        'settings.distill.method: "mad" -> "abm"',
    ]


def test_equal_documents_have_no_differences() -> None:
    assert differences(DOCUMENT, reversed_deep(DOCUMENT)) == []


def test_files_behind_a_link_to_a_folder_count(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    folder = External(path=tmp_path / "data", needed_by="data.root")
    first = external_digest(folder, DigestCache())
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"two!")
    assert external_digest(folder, DigestCache()) != first


def test_a_link_to_a_folder_around_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    plain = external_digest(External(path=tmp_path, needed_by="data.root"), DigestCache())
    (tmp_path / "loop").symlink_to(tmp_path)
    assert external_digest(External(path=tmp_path, needed_by="data.root"), DigestCache()) == plain


def test_a_document_is_the_same_once_it_is_stored_and_read_again(
    code: Callable[..., None],
) -> None:
    code("def run(ctx): ...\n")
    stage = Stage(name="make", run="fakestages:run", settings=("data.mean", "validate"), outputs={})
    settings = Settings(data=Data(mean=(0.5, 0.5), std=(0.2, 0.2)))
    document = key_document(stage, settings, {}, DigestCache())
    assert json.loads(json.dumps(document)) == document


@pytest.fixture
def network(tmp_path: Path) -> External:
    """A Python file of the user's that imports one beside it."""
    (tmp_path / "network.py").write_text("from . import layers\nimport json\n", encoding="utf-8")
    (tmp_path / "layers.py").write_text("WIDTH = 1\n", encoding="utf-8")
    return External(path=tmp_path / "network.py", needed_by="student.arch")


def test_outside_python_file_counts_by_its_code_and_that_beside_it(
    network: External, tmp_path: Path
) -> None:
    first = external_digest(network, DigestCache())
    (tmp_path / "layers.py").write_text("# a remark\nWIDTH = 1\n", encoding="utf-8")
    assert external_digest(network, DigestCache()) == first
    (tmp_path / "layers.py").write_text("WIDTH = 2\n", encoding="utf-8")
    assert external_digest(network, DigestCache()) != first


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"x = (\n", r"layers.py, line 1: .*never closed"), (b"x = 1\0", r"null bytes")],
)
def test_outside_file_that_is_not_python_is_a_fault_of_its_setting(
    network: External, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "layers.py").write_bytes(content)
    with pytest.raises(SettingsFault, match=rf"student.arch: is not Python \(.*{reason}") as caught:
        external_digest(network, DigestCache())
    assert str(caught.value).endswith("; correct the file")
