"""Check every call into TensorRT against the signatures of the real bindings, without a GPU.

    uv run python scripts/tensorrt_check.py [--keep FOLDER]

The bindings of TensorRT are an extension module that imports only where NVIDIA's libraries are,
which are large and not needed to read signatures: hollow libraries with the same names and entry
points let it load. pybind11-stubgen then writes down what it has, and mypy compares our module
with that: for TensorRT 10.12 (the oldest supported), what the extras tensorrt10 and tensorrt
install, and TensorRT-RTX. Needs gcc and nm, and a package index.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULE = "stages/engines/tensorrt"
WHEELS = {
    "tensorrt-10.12": ("tensorrt-cu12-bindings==10.12.0.36", "tensorrt_bindings"),
    "tensorrt-10.16": ("tensorrt-cu13-bindings==10.16.1.11", "tensorrt_bindings"),
    "tensorrt-11.4": ("tensorrt-cu13-bindings==11.4.0.106", "tensorrt_bindings"),
}
RTX = "tensorrt_rtx_bindings"
WRONG_CALL = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import tensorrt as trt
    import tensorrt_rtx
def wrong(builder: "trt.Builder", config: "tensorrt_rtx.IBuilderConfig") -> None:
    builder.create_network("strongly typed")
    config.no_such_call()
"""
WRONG_CALLS = 2


def main() -> int:
    """Write the stubs, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="where to leave the stubs")
    options = parser.parse_args()
    for tool in ("gcc", "nm", "uv"):
        if shutil.which(tool) is None:
            print(f"{tool}: is not installed ({tool}); install it to check TensorRT's signatures")
            return 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch, "stubs")
        rtx = stubs(RTX, folder / "rtx" / "tensorrt_rtx", {})
        stub_paths = {"tensorrt-rtx": rtx}
        for name, (wheel, package) in WHEELS.items():
            bindings = Path(scratch, name)
            run("uv", "pip", "install", "--quiet", "--no-deps", "--target", str(bindings), wheel)
            paths = {"PYTHONPATH": str(bindings), "LD_LIBRARY_PATH": str(bindings)}
            hollow_libraries(bindings)
            stub_paths[name] = stubs(package, folder / name / "tensorrt", paths)
        return max(compare(name, path, rtx, Path(scratch)) for name, path in stub_paths.items())


def run(*command: str, **variables: str) -> str:
    """Run a command and return what it prints; a failure ends the check with its messages."""
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])}: failed ({done.stderr.strip()[-2000:]})")
    return done.stdout


def hollow_libraries(folder: Path) -> None:
    """Make the native libraries that the bindings ask for, with nothing behind their names."""
    (module,) = folder.glob("*/tensorrt.so")
    symbols = re.findall(r" U (\w+)$", run("nm", "-D", str(module)), re.MULTILINE)
    names = [symbol for symbol in symbols if not symbol.startswith(("Py", "_", "dl"))]
    source = folder / "hollow.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in names))
    needed = set(re.findall(rb"libnv\w+\.so\.\d+", module.read_bytes()))
    for library in sorted(name.decode() for name in needed):
        target = str(folder / library)
        run("gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", target, str(source))


def stubs(package: str, target: Path, variables: dict[str, str]) -> Path:
    """Write the stubs of a bindings package as a package of `target`'s name; return its parent."""
    with tempfile.TemporaryDirectory() as scratch:
        generator = ("-m", "pybind11_stubgen", package, "--ignore-all-errors", "-o", scratch)
        run(sys.executable, *generator, **variables)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in Path(scratch, package).glob("*.pyi"):
            text = path.read_text(encoding="utf-8").replace(package, target.name)
            (target / path.name).write_text(mended(text), encoding="utf-8")
    return target.parent


def mended(text: str) -> str:
    """Return a stub without what the generator gets wrong about these bindings."""
    # TensorRT has a data type called bool, which hides the built-in one.
    text = re.sub(r"(->|: ) ?bool\b", r"\1 builtins.bool", text)
    text = re.sub(
        r"^(class I(?:HostMemory)\b.*:)$",
        r"\1\n    def __buffer__(self, flags: int, /) -> memoryview: ...",
        text,
        flags=re.MULTILINE,
    )
    future = "from __future__ import annotations\n"
    text = text.replace(future, f"{future}import builtins\nimport typing_extensions\n", 1)
    lines = text.split("\n")
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:  # a signature that is prose: any arguments are right
            at = (error.lineno or 1) - 1
            while not (match := re.match(r"\s*def \w+\(", lines[at])):
                at -= 1
            tail = " ..." if lines[at].rstrip().endswith("...") else ""
            lines[at] = f"{match.group()}*args: typing.Any, **kwargs: typing.Any):{tail}"
        else:
            return "\n".join(lines)


def compare(name: str, path: Path, rtx: Path, scratch: Path) -> int:
    """Run mypy on our module with the stubs of one edition; return 0 where all is right."""
    if path == rtx:  # the module names `tensorrt`, which stands for either edition
        path = scratch / "as-tensorrt"
        for stub in (rtx / "tensorrt_rtx").glob("*.pyi"):
            text = re.sub(
                r"\btensorrt_rtx\.tensorrt_rtx\b", "tensorrt.tensorrt_rtx", stub.read_text()
            )
            (path / "tensorrt").mkdir(parents=True, exist_ok=True)
            (path / "tensorrt" / stub.name).write_text(text)
    probe = scratch / "wrong_call.py"
    probe.write_text(WRONG_CALL)
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(scratch / "cache")]
    done = subprocess.run(
        [*command, MODULE, str(probe)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": f"{path}{os.pathsep}{rtx}"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    expected = [line for line in lines if "wrong_call.py" in line]
    wrong = [line for line in lines if line.startswith(MODULE)]
    if len(expected) < WRONG_CALLS:
        print(f"{name}: its stubs were not used ({done.stdout[-1000:]}{done.stderr})")
        return 1
    print("\n".join([f"{name}: {len(wrong)} calls do not fit", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
