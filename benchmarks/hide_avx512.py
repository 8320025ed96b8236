"""Run a command on which ONNX Runtime and OpenVINO see a processor with AVX2 alone.

    python benchmarks/hide_avx512.py -- python benchmarks/int8_bits.py --onnx FILE ...

Both ask the processor by the instruction CPUID. Copies of their libraries get an invalid one of the
same two bytes in its place, and a preloaded handler of that fault answers without AVX-512, VNNI and
AMX. What they then run is real AVX2 code: saturation and times are those of such code on this core.
Whoever reads `/proc/cpuinfo`, as madpipe does, misses the same; torch stays as it is. Needs gcc,
objdump and Linux; minutes at the first call.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HANDLER = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
    const char *other = strcmp(path, "/proc/cpuinfo") ? 0 : getenv("CPUINFO_WITHOUT_AVX512"); \
    va_list rest; \
    va_start(rest, flags); \
    int mode = va_arg(rest, int); \
    va_end(rest); \
    return next(other ? other : path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
static struct sigaction before;
static void answer(int number, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *at = (const unsigned char *)r[REG_RIP];
  if (at[0] != 0x0f || at[1] != 0x0b) { sigaction(SIGILL, &before, 0); return; }
  unsigned leaf = (unsigned)r[REG_RAX], part = (unsigned)r[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) {
    a = 0;
    b &= ~0xdc230000u; /* AVX-512 F DQ IFMA PF ER CD BW VL */
    c &= ~0x00005f42u; /* VBMI VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ */
    d &= ~0x03c0010cu; /* 4VNNIW 4FMAPS VP2INTERSECT AMX FP16 */
  } else if (leaf == 7 || leaf == 0x1d || leaf == 0x1e || leaf == 0x24) a = b = c = d = 0;
  r[REG_RAX] = a; r[REG_RBX] = b; r[REG_RCX] = c; r[REG_RDX] = d;
  r[REG_RIP] += 2;
}
__attribute__((constructor(101))) static void install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, &before);
}
"""
CPUID, INVALID = b"\x0f\xa2", b"\x0f\x0b"
PACKAGES = {
    "openvino": (
        "libs/libopenvino_intel_cpu_plugin.so", "libs/libopenvino.so.*", "libs/libtbb.so.*",
    ),
    "onnxruntime": ("capi/onnxruntime_pybind11_state*.so",),
}  # fmt: skip
HIDDEN = re.compile(r" (avx512\w*|avx_vnni\w*|amx_\w*|gfni|vaes|vpclmulqdq)(?= |$)", re.MULTILINE)
"""Names of the same in /proc/cpuinfo."""
LEFT_OUT = ("*_cuda.so", "*_tensorrt.so", "*npu_plugin*", "*gpu_plugin*")


def patch(library: Path) -> int:
    """Replace each CPUID of a library's code; return how many there were."""
    headers = subprocess.check_output(["objdump", "-h", str(library)], text=True)  # noqa: S607
    (fields,) = (line.split() for line in headers.splitlines() if " .text " in line)
    size, address, offset = (int(fields[column], 16) for column in (2, 3, 5))
    command = ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", str(library)]
    content, count = bytearray(library.read_bytes()), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:
        for line in listing.stdout or ():
            if match := re.match(r"\s*([0-9a-f]+):\s+cpuid\b", line):
                at = int(match.group(1), 16) - address + offset
                if offset <= at < offset + size and content[at : at + 2] == CPUID:
                    content[at : at + 2] = INVALID
                    count += 1
    library.write_bytes(content)
    return count


def prepare(folder: Path) -> None:
    """Copy and patch the packages."""
    folder.mkdir(parents=True)
    for name, patterns in PACKAGES.items():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        shutil.copytree(
            Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT)
        )
        for pattern in patterns:
            for library in (folder / name).glob(pattern):
                print(f"{library.name}: {patch(library)} CPUID replaced", file=sys.stderr)


def compile_handler(folder: Path) -> None:
    """Compile the handler, where it is not there as it is written here, and hide flags anew."""
    source = folder / "handler.c"
    if not source.exists() or source.read_text(encoding="utf-8") != HANDLER:
        source.write_text(HANDLER, encoding="utf-8")
        command = ["gcc", "-O1", "-shared", "-fPIC", "-o", "handler.so", "handler.c", "-ldl"]
        subprocess.run(command, cwd=folder, check=True)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    (folder / "cpuinfo").write_text(HIDDEN.sub("", flags), encoding="utf-8")


def main() -> None:
    """Prepare the folder once, then run the command with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path(".madpipe-avx2"))
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if not (folder / "handler.so").exists():
        shutil.rmtree(folder, ignore_errors=True)
        prepare(folder)
    compile_handler(folder)
    paths = [str(folder), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "LD_PRELOAD": str(folder / "handler.so"),
        "CPUINFO_WITHOUT_AVX512": str(folder / "cpuinfo"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    os.execvpe(arguments.command[0], arguments.command, environment)  # noqa: S606


if __name__ == "__main__":
    main()
