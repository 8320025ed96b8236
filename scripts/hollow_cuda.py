"""Run a command on hollow CUDA: a GPU whose kernels do nothing, on a machine that has none.

    python scripts/hollow_cuda.py -- -m pytest tests -m gpu
    python scripts/hollow_cuda.py --python OTHER/bin/python --gpus 2 -- -m tests.gpu.rounds

The interpreter's torch has to be built for CUDA; gcc and nm have to be here. See
tests/gpu/hollow/libraries.py for what that shows and what it cannot.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.gpu.hollow import libraries


def main() -> int:
    """Compile the libraries, run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run")
    parser.add_argument("--gpus", type=int, default=1, help="how many GPUs it sees")
    parser.add_argument("--keep", type=Path, help="where to leave the libraries")
    parser.add_argument("arguments", nargs="*", help="after --: those of the interpreter")
    options = parser.parse_args()
    if why := libraries.why_absent(options.python):
        print(f"hollow CUDA: cannot be made ({why}); install it, or choose another --python")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        libraries.build(folder, options.python)
        environment = os.environ | libraries.environment(folder, options.gpus)
        command = [options.python, *options.arguments]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
