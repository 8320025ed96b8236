"""Hollow CUDA: libraries in place of NVIDIA's, in which all behaves but the kernels do nothing.

With them the CUDA builds of torch, Inductor, Triton, NCCL's process group and ONNX Runtime run
on a machine without a GPU. What they show is devices, lifetimes, synchronisation, CUDA graphs
and counts of launches; what they cannot show is a single right number, nor time.

The C files beside this one hold what has to behave, a file for each library. All other entry
points of the real libraries return success and do nothing; they are read from the libraries that
torch brings, so that any version of it is served. It imports nothing heavy.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
_SHARED = "hollow"
_DRIVERS = r"(?!)"
_LOCATE = """
import importlib.util, json
def folder(name):
    spec = importlib.util.find_spec(name)
    return spec and spec.submodule_search_locations[0]
print(json.dumps({name: folder(name) for name in ("torch", "onnxruntime", "triton")}))
"""


@dataclass(frozen=True, slots=True)
class Library:
    """A library of NVIDIA's that is replaced."""

    soname: str
    sources: tuple[str, ...] = ()
    """The C files with what behaves."""
    prefix: str = _DRIVERS
    """What the names of its entry points begin with; those of the driver are declared."""
    counted: str = r"(?!)"
    """Entry points that launch a kernel."""
    kind: str = "LAUNCH"
    """What is counted there, see common.h."""


LIBRARIES = (
    Library("libcuda.so.1", ("driver.c",)),
    Library(
        "libcudart.so.13",
        ("runtime.c", "memory.c", "streams.c"),
        r"_*cuda[A-Z]",
        r"_*cuda\w*Launch\w*Kernel\w*",
    ),
    Library("libcublasLt.so.13", ("cublaslt.c",), "cublasLt", "cublasLtMat(mul|rixTransform)"),
    Library(
        "libcublas.so.13", ("cublas.c",), "cublas(?!Lt|Xt)", r"cublas(?!Create|Destroy|Get|Set)\w+"
    ),
    Library(
        "libcudnn.so.9",
        ("cudnn.c",),
        "cudnn",
        r"cudnn(?!Get|Set|Create|Destroy)\w*(Forward|Backward|Execute|Tensor|Softmax)\w*",
    ),
    Library("libcufft.so.12", ("cufft.c",), "cufft", r"cufft(Xt)?Exec\w*"),
    Library("libcurand.so.10", (), "curand", r"curandGenerate(?!Seeds)\w+"),
    Library(
        "libnccl.so.2",
        ("nccl.c",),
        "nccl",
        r"nccl(All|Broadcast|Bcast|Gather|Reduce|Recv|Scatter|Send)\w*",
        "COLLECTIVE",
    ),
    Library("libnvidia-ml.so.1", ("nvml.c",)),
)


def why_absent(python: str = sys.executable) -> str | None:
    """Return why there can be no hollow CUDA for an interpreter here, None where there can."""
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    torch = _packages(python)["torch"]
    if torch is None or not (torch / "lib" / "libtorch_cuda.so").is_file():
        return "torch is absent, or not built for CUDA"
    return None


def build(folder: Path, python: str = sys.executable) -> None:
    """Compile the libraries for the torch and the ONNX Runtime of an interpreter.

    Args:
        folder: Where they go.
        python: The interpreter.

    Raises:
        subprocess.CalledProcessError: A C file does not fit the headers that torch brings.
    """
    packages = _packages(python)
    torch, onnxruntime, triton = packages["torch"], packages["onnxruntime"], packages["triton"]
    assert torch is not None
    nvidia = torch.parent / "nvidia"
    includes = [f"-I{path}" for path in nvidia.glob("*/include")]
    if triton is not None:
        includes.append(f"-I{triton / 'backends' / 'nvidia' / 'include'}")
    users = [*torch.glob("lib/*cuda*.so")]
    if onnxruntime is not None:
        users += onnxruntime.glob("capi/libonnxruntime_providers_cuda.so")
    wanted = _symbols("--undefined-only", *users)
    folder.mkdir(parents=True, exist_ok=True)
    shared = folder / f"lib{_SHARED}.so"
    _gcc(*includes, "-shared", "-o", str(shared), str(HERE / "common.c"))
    for library in LIBRARIES:
        real = [*nvidia.glob(f"*/lib/{library.soname}")]
        if library.soname == "libcudnn.so.9":  # what it exports lies in its parts
            real += nvidia.glob("cudnn/lib/libcudnn_*.so.9")
        names = {name for name in wanted if re.match(library.prefix, name)}
        names |= {
            name for name in _symbols("--defined-only", *real) if re.match(library.prefix, name)
        }
        if "driver.c" in library.sources:
            names |= _declared("cuda.h", includes)
        _compile(library, names, folder, includes)


def _compile(library: Library, names: set[str], folder: Path, includes: list[str]) -> None:
    """Compile what behaves and, for all other names, what does nothing."""
    objects = []
    for source_name in library.sources:
        objects.append(str(folder / f"{source_name}.o"))
        _gcc(*includes, "-c", "-o", objects[-1], str(HERE / source_name))
        names -= _symbols("--defined-only", Path(objects[-1]), dynamic=False)
    lines = ['#include "common.h"']
    for name in sorted(names):
        does = f"hollow_count(HOLLOW_{library.kind});"
        if library.kind == "LAUNCH":
            does = "hollow_launch();"
        does = does if re.fullmatch(library.counted, name) else ""
        lines.append(f"long {name}(void) {{ {does} return 0; }}")
    source, versions = folder / f"{library.soname}.c", folder / f"{library.soname}.map"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The toolkit's users ask for symbols of a version, the driver's for plain ones.
    version = library.soname if library.prefix != _DRIVERS else ""
    versions.write_text(f"{version} {{ global: *; }};\n", encoding="utf-8")
    target = str(folder / library.soname)
    _gcc(
        "-fno-builtin", f"-I{HERE}", "-shared", f"-Wl,-soname,{library.soname}",
        f"-Wl,--version-script={versions}", "-Wl,-rpath,$ORIGIN", "-o", target,
        str(source), *objects, f"-L{folder}", f"-l{_SHARED}", "-ldl", "-lpthread",
    )  # fmt: skip


def environment(folder: Path, gpus: int = 1) -> dict[str, str]:
    """Return the variables with which a process uses the libraries in `folder`.

    What Inductor and Triton compile stays beside them, so that processes share it.
    """
    # torch looks for NVIDIA's libraries in its own folders first: only what is there already wins.
    preloaded = [f"lib{_SHARED}.so", *(library.soname for library in LIBRARIES)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        "LD_PRELOAD": ":".join(str(folder / name) for name in preloaded),
        "LD_LIBRARY_PATH": str(folder),
        "HOLLOW_GPUS": str(gpus),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRITON_LIBCUDA_PATH": str(folder),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _packages(python: str) -> dict[str, Path | None]:
    """Return the folders of the packages that matter, as an interpreter finds them."""
    output = subprocess.run([python, "-c", _LOCATE], capture_output=True, text=True, check=True)
    return {name: path and Path(path) for name, path in json.loads(output.stdout).items()}


def _symbols(which: str, *files: Path, dynamic: bool = True) -> set[str]:
    """Return the functions that libraries need or have."""
    if not files:
        return set()
    command = ["nm", *(["-D"] if dynamic else []), which, *map(str, files)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r" [TUWi] (\w+)(?:@\S+)?$", output, re.MULTILINE))


def _declared(header: str, includes: list[str]) -> set[str]:
    """Return the functions of the driver's header, by the names that they have for a linker."""
    text = _gcc(*includes, "-E", "-x", "c", "-", stdin=f"#include <{header}>\n")
    return set(re.findall(r"^CUresult +(cu\w+)\(", text, re.MULTILINE))


def _gcc(*arguments: str, stdin: str | None = None) -> str:
    command = ["gcc", "-std=gnu11", "-O1", "-fPIC", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    return done.stdout
