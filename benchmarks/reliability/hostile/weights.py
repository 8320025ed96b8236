"""Pickles in every place that loads weights, images, banks or progress."""

import json
from pathlib import Path

from benchmarks.reliability import small_project
from benchmarks.reliability.hostile.payloads import (
    CONTAINERS,
    PICKLES,
    archive,
    object_array,
    torch_zip,
)
from benchmarks.reliability.hostile.scene import ANY_END, READING, Attack, NotSurvivedError, Scene

_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pt2", ".onnx", ".npz", "")
_NAMES = (
    "../../outside/a/notes.txt",
    "/tmp/madpipe-canary",  # noqa: S108  (the name of a tensor)
    "..\\..\\x",
    "a/../../b",
    "\x1b[2J",
    "~",
)
_CHECKS = 3


def _pickle(scene: Scene, variant: int) -> bytes:
    name = list(PICKLES)[variant % len(PICKLES)]
    return PICKLES[name](scene.code, scene.shell)


def _torch_file(scene: Scene, variant: int) -> bytes:
    container = list(CONTAINERS)[variant % len(CONTAINERS)]
    return CONTAINERS[container](_pickle(scene, variant))


def _teacher(scene: Scene, variant: int) -> None:
    small_project.write(scene.project)
    name = f"evil{_SUFFIXES[variant % len(_SUFFIXES)]}"
    (scene.project / name).write_bytes(_torch_file(scene, variant))
    scene.attempt("plan", "--memory", "--set", f"teacher.weights={name}", codes=ANY_END)
    scene.attempt("run", "teacher", "--set", f"teacher.weights={name}")


def _student(scene: Scene, variant: int) -> None:
    scene.finished()
    (scene.project / "evil.pt").write_bytes(_torch_file(scene, variant))
    scene.attempt("run", "distill", "--set", "student.weights=evil.pt")


def _export(scene: Scene, variant: int) -> None:
    (scene.project / "evil.pth").write_bytes(_torch_file(scene, variant))
    scene.attempt("export", "--student", "evil.pth", "--out", "out.onnx")


def _checkpoint(scene: Scene, variant: int) -> None:
    home = scene.finished()
    change = ("--set", "seed=7")
    planned = json.loads(scene.attempt("plan", "--json", *change, codes=frozenset({0})).stdout)
    stage = next(item for item in planned if item["key"] and item["action"] != "hit")
    folder = home / "work" / stage["name"] / stage["key"][:16] / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(_torch_file(scene, variant))
    seen = json.loads(scene.attempt("plan", "--json", *change, codes=frozenset({0})).stdout)
    if not any(item["action"] == "resume" for item in seen):
        raise NotSurvivedError("expected the planted checkpoint to be found, it was not")
    scene.attempt("run", stage["name"], *change, codes=ANY_END)


def _bank(scene: Scene, variant: int) -> None:
    home = scene.finished()
    content = object_array(_pickle(scene, variant))
    (scene.project / "evil.npz").write_bytes(archive({"x.npy": content}))
    (scene.project / "evil.json").write_bytes(_pickle(scene, variant))
    (engine,) = (home / "entries/build").glob("*/manifest.json")
    command = ("validate", "--engine", str(engine.parent))
    scene.attempt(*command, "--data", "bank:evil.npz")
    (graph,) = (home / "entries/export").glob("*/student.onnx")
    images = ("evil.npz", "evil.json")[variant % 2]
    build = ("build", "--onnx", str(graph), "--precision", "int8", "--out", "engine")
    scene.attempt(*build, "--calibration", images)


def _images(scene: Scene, variant: int) -> None:
    settings = small_project.SETTINGS + '[data]\nsource = "folder"\nroot = "images"\n'
    small_project.write(scene.project, settings=settings)
    for label in ("a", "b"):
        folder = scene.project / "images" / label
        folder.mkdir(parents=True)
        for number in range(_CHECKS):
            (folder / f"{number}.npy").write_bytes(object_array(_pickle(scene, variant)))
    scene.attempt("run", "teacher")


def _lists(scene: Scene, variant: int) -> None:
    settings = small_project.SETTINGS + '[data]\nsource = "folder"\nroot = "images"\n'
    settings += ('labels = "evil.csv"\n', 'classes = "evil.txt"\n')[variant % 2]
    small_project.write(scene.project, settings=settings)
    folder = scene.project / "images" / "a"
    folder.mkdir(parents=True)
    for path in (scene.project / "images/evil.csv", scene.project / "evil.txt"):
        path.write_bytes(_pickle(scene, variant))
    scene.attempt("run", "teacher")


def _records(scene: Scene, variant: int) -> None:
    """Put a pickle in the place of every file of the working folder, and read them all."""
    home = scene.finished()
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != "lock")
    for path in files[variant % _CHECKS :: _CHECKS]:
        path.chmod(0o644)
        path.write_bytes(_torch_file(scene, variant))
    for command in READING:
        scene.attempt(*command, codes=ANY_END)


def _names(scene: Scene, variant: int) -> None:
    """Name tensors, and the files of an index, as paths that lead elsewhere."""
    small_project.write(scene.project)
    name = _NAMES[variant % len(_NAMES)]
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    head = json.dumps({name: entry, "__metadata__": {"path": name}}).encode()
    content = len(head).to_bytes(8, "little") + head + bytes(4)
    (scene.project / "evil.safetensors").write_bytes(content)
    (scene.folder / "outside.safetensors").write_bytes(content)
    index = {"weight_map": {"a": ("../outside.safetensors", name)[variant % 2]}}
    path = scene.project / "evil.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
    for file in ("evil.safetensors", path.name):
        scene.attempt("run", "teacher", "--set", f"teacher.weights={file}")
    if Path("/tmp/madpipe-canary").exists():  # noqa: S108  (what the name of a tensor names)
        raise NotSurvivedError("expected no file of a tensor's name, seen /tmp/madpipe-canary")


def _zip_members(scene: Scene, variant: int) -> None:
    """Lead the members of an archive of weights elsewhere, or let them grow without end."""
    small_project.write(scene.project)
    pickled = b"\x80\x02}q\x00."
    members = (
        {"../../outside/a/notes.txt": b"x", "archive/data.pkl": pickled, "archive/version": b"3"},
        {"/tmp/madpipe-canary": b"x", "archive/data.pkl": pickled},  # noqa: S108
        {"archive/data.pkl": b"\x80\x02" + b"(" * 2_000_000 + b"."},
        {"archive/data.pkl": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"."},
    )[variant % 4]
    (scene.project / "evil.pt").write_bytes(archive(members))
    scene.attempt("run", "teacher", "--set", "teacher.weights=evil.pt")


def _twice(scene: Scene, variant: int) -> None:
    """Name the pickle of an archive twice: what is looked at may not be what is loaded."""
    small_project.write(scene.project)
    harmless, evil = torch_zip(b"\x80\x02}q\x00."), torch_zip(_pickle(scene, variant))
    (scene.project / "evil.pt").write_bytes((harmless + evil, evil + harmless)[variant % 2])
    scene.attempt("run", "teacher", "--set", "teacher.weights=evil.pt")


ATTACKS = (
    Attack("a pickle as the teacher's weights", _teacher, 27, is_quick=True),
    Attack("a pickle as the student's weights", _student, len(PICKLES)),
    Attack("a pickle as weights to export", _export, len(PICKLES), is_quick=True),
    Attack("a pickle as a checkpoint", _checkpoint, len(PICKLES)),
    Attack("a pickle as images of a bank", _bank, 6),
    Attack("a pickle as images in .npy", _images, 4, is_quick=True),
    Attack("a pickle as labels or class names", _lists, 4, is_quick=True),
    Attack("pickles as records of a working folder", _records, 6),
    Attack("tensors and files of an index by names of paths", _names, len(_NAMES), is_quick=True),
    Attack("weights whose archive leads elsewhere", _zip_members, 4, is_quick=True),
    Attack("weights with two archives in one file", _twice, 6, is_quick=True),
)
