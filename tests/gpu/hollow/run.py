"""Run a module in this process and end it at once: `python -m tests.gpu.hollow.run MODULE ...`.

At a usual end torch's threads of the backward pass race with Python's own end (torch 2.15, Python
3.11), and without the time that a GPU takes they lose it: the process dies after all is done.
"""

import os
import runpy
import sys
import traceback

if __name__ == "__main__":
    del sys.argv[0]
    code: object = 0
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  (whatever it is, it is shown and is a failure)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
