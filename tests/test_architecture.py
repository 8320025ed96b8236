"""The shape of the house: imports go one way, files and functions stay small, starts stay light."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.versions import needs_onnxruntime_for_cuda_13

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "stages", "models")
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60

# What each part may import of ours; the order goes from the bottom to the top.
ALLOWED = {
    "models": {
        "models",
        "pipeline.declared_bytes",
        "pipeline.errors",
        "pipeline.image_size",
        "pipeline.library_logs",
    },
    "stages": {
        "stages",
        "models",
        "pipeline.atomic",
        "pipeline.cache.keys",
        "pipeline.collector",
        "pipeline.declared_bytes",
        "pipeline.errors",
        "pipeline.gates.build_records",
        "pipeline.gates.intervals",
        "pipeline.gates.measurement_files",
        "pipeline.gates.measurements",
        "pipeline.gates.pictures",
        "pipeline.gates.real_images",
        "pipeline.image_size",
        "pipeline.library_logs",
        "pipeline.machine",
        "pipeline.paths",
        "pipeline.preprocessing",
        "pipeline.report.markdown",
        "pipeline.report.records",
        "pipeline.requirements",
        "pipeline.settings",
        "pipeline.stage",
        "pipeline.stored_files",
        "pipeline.texts",
        "pipeline.weight_names",
    },
    "pipeline": {"pipeline"},
    "pipeline.cli": {"pipeline", "stages"},
}
# The core from the bottom to the top: a module imports from its own line or from those above it.
ORDER = """
    __init__ exit_codes collector texts errors stored_files events signals atomic file_lock paths
    image_size git_revision library_logs
    preprocessing weight_names declared_bytes
    gates.measures gates.real_images gates.build_records gates.measurements gates.sound_figures
    gates.measurement_files gates.pictures
    machine settings cache.digests cache.urls gates.intervals checkpoint
    requirements config.gate_rules config.rules config.presets config.template
    gates.estimates gates.judge report.records
    config.load stage
    cache.users_code
    cache.externals
    cache.keys
    cache.entry
    cache.store
    cache.leftovers cache.lock_holder
    planner cache.lock run_records estimates cache.arrivals cache.remote_faults cache.transfers
    cache.sync cache.sftp cache.remote_files
    cache.folder_remote cache.url_remote
    cache.remotes
    shared_cache
    runner
    project
    gates.stored_runs
    gates.pairs
    gates.changes
    gates.compare
    screen
    report
    track
    run_pipeline
    sweep
    cli
"""
RANK = {
    name: number for number, line in enumerate(ORDER.strip().splitlines()) for name in line.split()
}
HEAVY = {
    "aiohttp",
    "fsspec",
    "jinja2",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "paramiko",
    "PIL",
    "psutil",
    "s3fs",
    "safetensors",
    "scipy",
    "huggingface_hub",
    "sklearn",
    "tensorrt",
    "timm",
    "torch",
    "torchvision",
    "transformers",
}
LIGHT_STAGE_FILES = {
    "stages/__init__.py",
    "stages/bank_recipe.py",
    "stages/catalog.py",
    "stages/declared_uses.py",
    "stages/data/__init__.py",
    "stages/completed_settings.py",
    "stages/data/datasets.py",
    "stages/data/tree.py",
    "stages/hubs/__init__.py",
    "stages/hubs/advice.py",
    "stages/hubs/cache_folders.py",
    "stages/hubs/configs.py",
    "stages/hubs/records.py",
    "stages/hubs/resolve.py",
    "stages/hubs/transformers_configs.py",
    "stages/planned_memory.py",
    "stages/preflight.py",
    "stages/preflight_images.py",
    "stages/teacher_arch.py",
    "stages/engines/__init__.py",
    "stages/engines/base.py",
    "stages/engines/compatibility.py",
    "stages/engines/open_engine.py",
    "stages/engines/providers.py",
    "stages/engines/selection.py",
    "models/__init__.py",
    "models/upsampling.py",
    "models/registry.py",
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = parsed(path)
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if ROOT.joinpath(*node.module.split(".")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_the_core_knows_no_stage_and_stages_only_the_api_of_the_core() -> None:
    wrong = []
    for path in sources():
        module = module_of(path)
        part = "pipeline.cli" if module.startswith("pipeline.cli") else module.partition(".")[0]
        for name in imports(path):
            if name.partition(".")[0] not in PACKAGES:
                continue
            if not any(name == known or name.startswith(known + ".") for known in ALLOWED[part]):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def rank(module: str) -> int:
    """Return the line of `ORDER` on which a module of the core, or its folder, stands."""
    name = module.removeprefix("pipeline").strip(".") or "__init__"
    if name in {"cache", "config", "gates"}:
        return 0  # their `__init__` files hold nothing but a sentence
    return RANK[name] if name in RANK else RANK[name.partition(".")[0]]


def imports_of_core(path: Path) -> set[str]:
    """Return the modules of the core that a file imports."""
    modules = set()
    for name in imports(path):
        if name.partition(".")[0] == "pipeline":
            file = ROOT.joinpath(*name.split("."))
            is_module = file.with_suffix(".py").is_file() or file.is_dir()
            modules.add(name if is_module else name.rpartition(".")[0])
    return modules


def test_imports_within_the_core_go_one_way() -> None:
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in imports_of_core(path)
        if rank(name) > rank(module_of(path))
    ]
    assert not wrong


def test_declarations_import_nothing_heavy() -> None:
    light = [path for path in sources() if module_of(path).startswith("pipeline")]
    light += [ROOT / name for name in sorted(LIGHT_STAGE_FILES)]
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in light
        for name in imports(path, top_level_only=True)
        if name.partition(".")[0] in HEAVY
    ]
    assert not wrong


def test_distill_reaches_no_module_that_loads_images() -> None:
    from pipeline.cache.digests import DigestCache, code_digests

    reached = code_digests(["stages.distill.stage"], DigestCache())
    assert "stages.distill.trainer" in reached
    assert not [name for name in reached if name.startswith("stages.data")]


def test_files_and_functions_are_small() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not [path for path, length in lengths.items() if length > MAX_FILE_LINES]
    long = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{path}:{node.lineno} {node.name} has {length} lines")
    assert not long


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan"], ["status"], ["why", "distill"], ["cache", "ls"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    settings = '[cache]\nremote = "s3://bucket/path"\n'
    (tmp_path / "pipeline.toml").write_text(settings, encoding="utf-8")
    assert not _imported(HEAVY, arguments, tmp_path)


def _imported(modules: set[str], arguments: list[str], folder: Path) -> list[str]:
    """Return which modules a command that ends well has imported."""
    script = (
        "import sys\n"
        "from pipeline.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as exit_:\n"
        f"    print('imported', *sorted({modules!r} & set(sys.modules)))\n"
        "    sys.exit(exit_.code)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1].split()[1:]


@needs_onnxruntime_for_cuda_13
def test_an_engine_in_fp32_is_built_without_torch(tmp_path: Path) -> None:
    import onnx

    from tests.stages.onnxgraph.graphs import classifier

    onnx.save(classifier(), tmp_path / "a.onnx")
    needed = {"numpy", "onnx", "onnxruntime", "psutil", "safetensors"}
    unneeded = HEAVY - needed | {"pandas", "sympy"}
    command = ["build", "--onnx", "a.onnx", "--precision", "fp32", "--device", "cpu"]
    assert not _imported(unneeded, command, tmp_path)


def test_what_exports_a_file_imports_nothing_of_other_commands() -> None:
    script = "import sys, stages.standalone.export_file; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    unneeded = {"jinja2", "matplotlib", "onnxruntime.quantization", "openvino", "PIL", "scipy"}
    assert not unneeded & set(done.stdout.split())
