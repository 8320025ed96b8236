"""Time to the first inference of an engine, measured in processes in which nothing is warm.

    python -P -m stages.engines.first_inference REQUEST.json

It runs from before the engine's file is opened until the logits of one image are in this process's
memory: reading the file, making the session, compiling or loading its kernels, on a GPU its CUDA
context and the copies, and the inference. It includes neither starting Python nor importing the
runtime, which `import_ms` tells, nor the checks of the manifest; and the system has the file in its
memory. On Linux each process is a fork of one that has imported the runtime and done nothing else
with it, so that imports are paid once; elsewhere it is a new one.

Shape legend: B batch, C channel, H W space.
"""

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import BinaryIO

import msgspec
import numpy as np

from pipeline.atomic import scratch_folder
from pipeline.errors import MadpipeError, StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import FirstInference
from stages.engines import child_process, compatibility, selection
from stages.engines.base import BACKENDS

_BUDGET_S = 60.0
"""No process begins after so long; one engine that compiles for minutes is measured once."""
_LONGEST_S = 1800.0
IS_FORKED = sys.platform == "linux"


class FirstRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process gets."""

    manifest: EngineManifest
    engine: str
    shape_BCHW: tuple[int, ...]
    """Of the images, as `Session.infer` takes them."""
    threads: int
    runs: int
    keeps_kernels: bool
    """Whether the runtime keeps kernels, so that each run is repeated with those."""


class FirstMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process answers."""

    times_ms: tuple[float, ...] = ()
    cached_times_ms: tuple[float, ...] = ()
    import_ms: float = 0.0
    exit_code: int = 0
    """Where above 0, of the error."""
    error: tuple[str, str, str] = ("", "", "")
    """Place, what is wrong and remedy."""


def measure(
    manifest: EngineManifest,
    engine: Path,
    shape_BCHW: Sequence[int],
    *,
    threads: int,
    runs: int,
) -> FirstInference | None:
    """Return the time to the first inference of an engine, None where `runs` is 0.

    Since these processes are the first to load the engine, one that crashes its runtime ends them
    and not the caller.

    Raises:
        StageError: It cannot be loaded, or the process crashed or hung.
        UnavailableError: Its backend or device is not available here.
    """
    request = FirstRequest(
        manifest=manifest,
        engine=str(engine.resolve()),
        shape_BCHW=tuple(shape_BCHW),
        threads=threads,
        runs=runs if IS_FORKED else 1,
        keeps_kernels=manifest.device in BACKENDS[manifest.backend].keeps_kernels_on,
    )
    begin_s = time.monotonic()
    answers: list[FirstMessage] = []
    for _ in range(min(runs, 1) if IS_FORKED else runs):
        if answers and time.monotonic() - begin_s > _BUDGET_S:
            break
        answers.append(_ask(request))
    if not answers:
        return None
    times_ms = tuple(value for answer in answers for value in answer.times_ms)
    cached_ms = tuple(value for answer in answers for value in answer.cached_times_ms)
    return FirstInference(
        n=len(times_ms),
        p50_ms=median(times_ms),
        times_ms=times_ms,
        import_ms=median(answer.import_ms for answer in answers),
        cached_p50_ms=median(cached_ms) if cached_ms else None,
        cached_times_ms=cached_ms,
    )


def _ask(request: FirstRequest) -> FirstMessage:
    """Return the answer of one process."""
    with child_process.started(__name__, request, longest_s=_LONGEST_S) as child:
        for line in child.lines():
            return _checked(msgspec.json.decode(line, type=FirstMessage))
        raise _crash(request.manifest.backend, child.how_it_ended())


def _checked(answer: FirstMessage) -> FirstMessage:
    """Return an answer; the error that it holds where it holds one."""
    if answer.exit_code:
        is_unavailable = answer.exit_code == UnavailableError.exit_code
        raise (UnavailableError if is_unavailable else StageError)(*answer.error)
    return answer


def _crash(backend: str, how: str) -> StageError:
    return StageError(
        "the engine",
        f"ended the process that loaded and ran it ({backend}, {how})",
        "build it again, on this machine; if it does so again, use another backend",
    )


def main(arguments: list[str]) -> int:
    """Measure what the request names; return the exit code."""
    channel = child_process.answers()
    try:
        request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=FirstRequest)
        answer = _answer(request)
    except MadpipeError as error:
        answer = _as_message(error)
    channel.write(msgspec.json.encode(answer) + b"\n")
    channel.flush()
    return 0


def _as_message(error: MadpipeError) -> FirstMessage:
    return FirstMessage(exit_code=error.exit_code, error=(error.place, error.wrong, error.remedy))


def _answer(request: FirstRequest) -> FirstMessage:
    """Return the times of all runs, those with kept kernels behind one that keeps them."""
    compatibility.check(request.manifest)
    info = BACKENDS[request.manifest.backend]
    begin_s = time.perf_counter()
    for module in (info.module, info.needs):
        importlib.import_module(module)
    import_ms = 1000 * (time.perf_counter() - begin_s)
    if not IS_FORKED:
        return FirstMessage(times_ms=(_first_ms(request, None),), import_ms=import_ms)
    times_ms = _repeated(request, lambda: _first_ms(request, None), request.runs)
    cached_ms: list[float] = []
    if request.keeps_kernels:
        with scratch_folder() as cache:
            # The first of these finds an empty folder and leaves its kernels there.
            cached_ms = _repeated(request, lambda: _first_ms(request, cache), request.runs + 1)[1:]
    return FirstMessage(
        times_ms=tuple(times_ms), cached_times_ms=tuple(cached_ms), import_ms=import_ms
    )


def _first_ms(request: FirstRequest, cache: Path | None) -> float:
    """Return the milliseconds from opening the engine to its first logits."""
    manifest = request.manifest
    backend, engine = selection.backend(manifest.backend), Path(request.engine)
    x_BCHW = np.random.default_rng(0).random(request.shape_BCHW, dtype=np.float32)
    begin_s = time.perf_counter()
    session = backend.open(engine, device=manifest.device, threads=request.threads, cache=cache)
    session.infer(x_BCHW)
    first_ms = 1000 * (time.perf_counter() - begin_s)
    if cache is not None:
        session.infer(x_BCHW)  # at which the kernels of the first are kept, or when it goes
        del session
    return first_ms


def _repeated(request: FirstRequest, measure_once: Callable[[], float], runs: int) -> list[float]:
    """Return what a function measures in each of several forks, as many as fit the budget."""
    begin_s = time.monotonic()
    times_ms: list[float] = []
    while len(times_ms) < runs and (not times_ms or time.monotonic() - begin_s < _BUDGET_S):
        times_ms += _in_fork(request, measure_once).times_ms
    return times_ms


def _in_fork(request: FirstRequest, measure_once: Callable[[], float]) -> FirstMessage:
    """Return what a function measures in a fork of this process."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(write_end, "wb") as channel:
            _answer_and_end(channel, measure_once)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as channel:
        line = channel.read()
    _, status = os.waitpid(pid, 0)
    if not line:
        code = os.waitstatus_to_exitcode(status)
        raise _crash(request.manifest.backend, child_process.ending(code))
    return _checked(msgspec.json.decode(line, type=FirstMessage))


def _answer_and_end(channel: BinaryIO, measure_once: Callable[[], float]) -> None:
    """Answer what a function measures and end this process, without what comes at its end."""
    code = 1
    try:
        try:
            answer = FirstMessage(times_ms=(measure_once(),))
        except MadpipeError as error:
            answer = _as_message(error)
        channel.write(msgspec.json.encode(answer))
        channel.flush()
        code = 0
    except BaseException:  # noqa: BLE001  (nothing of the parent's may run on in a fork)
        traceback.print_exc()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
