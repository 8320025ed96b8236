"""The key of a stage: all that decides its result, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import machine
from pipeline.cache.digests import DigestCache
from pipeline.cache.keys import KeyDocument, differences, key_document, key_of
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


def test_a_document_is_the_same_once_it_is_stored_and_read_again(
    code: Callable[..., None],
) -> None:
    code("def run(ctx): ...\n")
    stage = Stage(name="make", run="fakestages:run", settings=("data.mean", "validate"), outputs={})
    settings = Settings(data=Data(mean=(0.5, 0.5), std=(0.2, 0.2)))
    document = key_document(stage, settings, {}, DigestCache())
    assert json.loads(json.dumps(document)) == document


def test_a_setting_that_only_says_where_a_file_lies_is_in_no_key(
    document_of: DocumentOf, tmp_path: Path
) -> None:
    documents = []
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"same")
        outside = External(path=tmp_path / name, needed_by="distill.images", is_path=True)
        settings = Settings(distill=Distill(images=name))
        documents.append(document_of(settings, externals={"images": outside}))
        assert settings.distill.images == name
    assert documents[0] == documents[1]


def test_of_packages_that_take_each_others_place_the_name_counts(
    document_of: DocumentOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for name in ("onnxruntime-gpu", "onnxruntime"):
        monkeypatch.setattr(machine, "installed", lambda _of, name=name: (name, "1.22.0"))
        keys.add(key_of(document_of(packages=("onnxruntime-gpu|onnxruntime",))))
    assert len(keys) == 2
