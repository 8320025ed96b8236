"""A stranger's folder: what lies beside `pipeline.toml`, and what its settings can make happen."""

from pathlib import Path

from benchmarks.reliability import small_project
from benchmarks.reliability.hostile.scene import (
    ANY_END,
    READING,
    REFUSED,
    Attack,
    NotSurvivedError,
    Scene,
)

_MODULES = (
    "sitecustomize", "usercustomize", "torch", "yaml", "readline", "numpy", "json", "random",
    "multiprocessing", "pickle", "signal", "socket", "selectors", "joblib", "onnx", "onnxruntime",
    "openvino", "pipeline", "stages", "models", "typer", "msgspec", "matplotlib", "PIL", "fsspec",
)  # fmt: skip
_SEVERAL = """\
[validate]
processes = 2
pairs = 20
warmup_s = 0.01
first_runs = 2
"""


def _plant_modules(scene: Scene) -> None:
    for name in _MODULES:
        text = f"{scene.code}\nraise ImportError('planted')\n"
        (scene.project / f"{name}.py").write_text(text, encoding="utf-8")


def _modules_reading(scene: Scene, _variant: int) -> None:
    small_project.write(scene.project)
    _plant_modules(scene)
    for command in READING:
        scene.attempt(*command, codes=ANY_END)


def _modules_running(scene: Scene, variant: int) -> None:
    """Run everything that starts other processes, in a folder full of modules."""
    scene.finished()
    settings = small_project.SETTINGS
    if variant == 0:
        begin, end = settings.split("[validate]\n")
        settings = begin + _SEVERAL + end.partition("first_runs = 0\n")[2]
    (scene.project / "pipeline.toml").write_text(settings, encoding="utf-8")
    _plant_modules(scene)
    commands = (
        ("run", "all"),
        ("run", "distill", "--set", "distill.processes=2", "--set", "distill.method=mad"),
        ("sweep", "teacher.epochs=1,3", "--to", "teacher", "--jobs", "2"),
    )
    scene.attempt(*commands[variant], codes=frozenset({0}))


def _git(scene: Scene, variant: int) -> None:
    """Let the repository of the folder name programs."""
    import subprocess  # noqa: PLC0415

    small_project.write(scene.project)
    (scene.project / ".gitattributes").write_text("*.toml filter=x\n", encoding="utf-8")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=scene.project, check=True)  # noqa: S607
    names = (
        ("core.fsmonitor",),
        ("filter.x.clean", "filter.x.process"),
        ("core.hooksPath",),
        ("diff.external", "core.pager", "core.sshCommand", "core.editor", "alias.describe"),
    )[variant]
    hooks = scene.project / ".git/hooks"
    for name in names:
        value = str(hooks) if name == "core.hooksPath" else scene.shell
        subprocess.run(["git", "config", name, value], cwd=scene.project, check=True)  # noqa: S607
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "reference-transaction", "post-checkout"):
        (hooks / name).write_text(f"#!/bin/sh\n{scene.shell}\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    (scene.project / "pipeline.toml").touch()
    for command in (*READING, ("run", "teacher", "--set", "teacher.epochs=1")):
        scene.attempt(*command, codes=ANY_END)


def _factory(scene: Scene, variant: int) -> None:
    """Name the stranger's own code as a network: no command that only reads runs it."""
    file = ("net.py", "../outside/net.py", "models/net.py")[variant % 3]
    sizes = ("", "[data]\nimage_size_px = 224\n")[variant // 3]
    settings = f'[teacher]\narch = "{file}:make"\nweights = "w.pt"\n'
    settings += f'[student]\narch = "{file}:make"\n{sizes}[validate]\nimages = "bank"\n'
    small_project.write(scene.project, settings=settings)
    path = scene.project / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{scene.code}\ndef make(): pass\n", encoding="utf-8")
    (scene.project / "w.pt").write_bytes(b"x")
    for command in READING:
        scene.attempt(*command, codes=ANY_END)


def _files_of_tools(scene: Scene, variant: int) -> None:
    """Leave files that libraries read from the current folder."""
    scene.finished()
    files = {
        "matplotlibrc": "text.usetex: True\nbackend: module://planted\n",
        "planted.py": scene.code,
        ".env": "PYTHONSTARTUP=planted.py\nMLFLOW_TRACKING_URI=http://127.0.0.1:1\n",
        "setup.cfg": "[metadata]\n",
        "pyproject.toml": "[tool.x]\n",
        "conftest.py": scene.code,
        ".netrc": "default login x password y\n",
        ".pdbrc": f"import os; os.system({scene.shell!r})\n",
        "fsspec.json": '{"file": {"auto_mkdir": true}}',
    }
    for name, text in files.items():
        (scene.project / name).write_text(text, encoding="utf-8")
    variables = {"HOME": str(scene.project)} if variant else {}
    commands = (*READING, ("run", "all"))
    for command in commands:
        scene.attempt(*command, codes=ANY_END, variables=variables)
    scene.attempt("report", "--out", "page.html", codes=frozenset({0}), variables=variables)


_CHANGES = (
    'cache.remote="simplecache::file:///x"',
    'cache.remote="zip://x::file:///x"',
    'cache.remote="reference://x"',
    'cache.remote="memory://x"',
    'cache.remote="git://x"',
    'cache.remote="github://a:b@c/x"',
    'cache.remote="jupyter://127.0.0.1/x"',
    'cache.remote="dvc://x"',
    'cache.remote="python://x"',
    'cache.remote="local:///x"',
    'cache.remote="dir://x"',
    'cache.remote="data://x"',
    'cache.remote="blockcache::http://127.0.0.1/x"',
    'cache.remote="ext::sh -c x"',
    'teacher.arch="os:system"',
    'teacher.arch="builtins.exec"',
    "teacher.arch=\"net.py:__import__('os')\"",
    'teacher.arch="net.py"',
    'teacher.arch="torchvision:../../x"',
    'teacher.arch="timm:hf-hub:evil/x"',
    'teacher.arch="timm:local-dir:."',
    'teacher.arch="transformers:."',
    'teacher.weights="hf:../../x"',
    'teacher.weights="hf:evil/x"',
    'teacher.weights="torchvision:evil"',
    'teacher.weights="http://127.0.0.1:PORT/x.pt"',
    'student.weights="file:///etc/passwd"',
    'data.source="os"',
    'data.root="http://127.0.0.1:PORT/"',
    'track.to=["os"]',
    'distill.images="|touch x"',
    'distill.images="$(touch x)"',
    'distill.images="`touch x`"',
    'teacher.weights=";touch x"',
    'build.backend="os.system"',
)


def _settings(scene: Scene, variant: int) -> None:
    """Set what names places, commands or modules to what must not be opened, run or imported."""
    change = _CHANGES[variant].replace("PORT", str(scene.port))
    small_project.write(scene.project)
    (scene.project / "net.py").write_text(scene.code, encoding="utf-8")
    (scene.project / "config.json").write_text('{"auto_map": {"AutoModel": "net.X"}}')
    key, _, value = change.partition("=")
    table, _, name = key.partition(".")
    path = scene.project / "stranger.toml"
    path.write_text(f"[{table}]\n{name} = {value}\n", encoding="utf-8")
    for command in (("plan",), ("run", "teacher" if table != "distill" else "distill")):
        quickly = ("--set", "teacher.epochs=1", "--set", "distill.rounds=1")
        scene.attempt(*command, "--config", "stranger.toml", *quickly, codes=ANY_END)
    names = {file.name for file in scene.project.iterdir()}
    if extra := names - {"pipeline.toml", "stranger.toml", "net.py", "config.json", ".madpipe"}:
        raise NotSurvivedError(f"expected no other file, seen {sorted(extra)}")


def _hub_code(scene: Scene, variant: int) -> None:
    """Lay a repository of a hub into its cache, whose configuration names code of its own."""
    small_project.write(scene.project)
    name = "models--evil--net"
    folder = scene.project / "hub" / name / "snapshots" / "0"
    folder.mkdir(parents=True)
    refs = scene.project / "hub" / name / "refs"
    refs.mkdir()
    (refs / "main").write_text("0", encoding="utf-8")
    config = (
        '{"model_type": "evil", "auto_map": {"AutoConfig": "net.C", "AutoModelForImage'
        'Classification": "net.M"}, "num_labels": 3, "architectures": ["M"]}'
    )
    (folder / "config.json").write_text(config, encoding="utf-8")
    (folder / "net.py").write_text(scene.code, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    place = ("hf:evil/net", str(Path("hub") / name / "snapshots/0/model.safetensors"))[variant]
    variables = {"HF_HUB_CACHE": str(scene.project / "hub"), "HF_HUB_OFFLINE": "1"}
    for command in (("plan",), ("run", "teacher")):
        change = ("--set", f"teacher.weights={place}")
        codes = ANY_END if command == ("plan",) else REFUSED | {5}
        scene.attempt(*command, *change, codes=codes, variables=variables)


ATTACKS = (
    Attack("modules beside the settings, and commands that read", _modules_reading, is_quick=True),
    Attack("modules beside the settings, and processes", _modules_running, 3),
    Attack("a repository that names programs", _git, 4, is_quick=True),
    Attack("a stranger's network, and commands that read", _factory, 6, is_quick=True),
    Attack("files that libraries read from the current folder", _files_of_tools, 2),
    Attack("a stranger's settings", _settings, len(_CHANGES), is_quick=True),
    Attack("a hub's repository with code of its own", _hub_code, 2, is_quick=True),
)
