"""The package command refuses what cannot be packed before it writes anything."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx

from pipeline.settings import Build
from stages import standalone
from tests.stages.onnxgraph.graphs import classifier
from tests.stages.packaging.test_web import FOLDER, needs_runtime

Call = Callable[..., tuple[int, str, str]]


def test_without_a_run_there_is_nothing_to_pack(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    code, out, err = madpipe("package")
    assert (code, out) == (1, "")
    home = tmp_path / ".madpipe"
    assert err == f"{home}: holds no run to report (none stored); madpipe run all first\n"


def test_without_settings_and_engine_the_settings_are_missing(madpipe: Call) -> None:
    code, _, err = madpipe("package")
    assert code == 2
    assert err.startswith("pipeline.toml: no such file; ")


def test_a_folder_without_an_engine_is_refused(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    code, _, err = madpipe("package", "--engine", "engine", "--out", "p.zip")
    assert (code, err) == (
        1,
        "--engine: has no manifest.json (engine); name a folder that madpipe build wrote\n",
    )
    assert not (tmp_path / "p.zip").exists()


def test_the_folder_of_onnxruntime_web_is_only_for_the_web(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "ort").mkdir()
    code, _, err = madpipe("package", "--web-runtime", "ort")
    assert code == 2
    assert err == (
        "--web-runtime: has no meaning without --for web (ort); give --for web, or leave it out\n"
    )


def test_a_page_without_onnxruntime_web_is_refused_before_anything_is_written(
    madpipe: Call, tmp_path: Path
) -> None:
    onnx.save(classifier(), tmp_path / "a.onnx")
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    standalone.build(tmp_path / "a.onnx", tmp_path / "engine", options)
    code, _, err = madpipe("package", "--engine", "engine", "--for", "web", "--out", "page")
    assert code == 2
    assert err.startswith("--web-runtime: is missing: ")
    assert "npm install onnxruntime-web@" in err
    assert not (tmp_path / "page").exists()
    code, out, _ = madpipe("package", "--engine", "engine", "--out", "packed")
    assert (code, out) == (
        0,
        "packed  11 files; in it, python run.py IMAGE names an image's class\n",
    )


@needs_runtime
def test_a_page_is_written_with_what_was_compared(madpipe: Call, tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "a.onnx")
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    standalone.build(tmp_path / "a.onnx", tmp_path / "engine", options)
    code, out, err = madpipe(
        "package", "--engine", "engine", "--for", "web", "--out", "page.zip",
        "--web-runtime", str(FOLDER),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "gives ONNX Runtime's class on 8 of 8 random images" in out
    with zipfile.ZipFile(tmp_path / "page.zip") as packed:
        assert "index.html" in packed.namelist()
