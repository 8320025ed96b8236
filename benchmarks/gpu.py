"""The CIFAR-10 row on a GPU that is there for minutes: pieces that resume, results at once.

On a machine without network, in the root of the repository, in calls of at most ten minutes, of
which each takes nine. T is a folder with test/CLASS/ and, for `teacher`, train/CLASS/; O the folder
that comes back; W has wheels of what that python3 lacks, such as msgspec. CIFAR-10 as 60,000 JPEG
files, which all repeat the same tables, is 18 MB as `tar --sort=name -cf - train test | xz -9`:

    mkdir -p /tmp/site; for w in W/*.whl; do python3 -m zipfile -e $w /tmp/site; done
    export PYTHONPATH=/tmp/site
    R="python3 -m benchmarks.gpu --data T --home /tmp/row --set distill.rounds=8000 --out O"
    $R tests:150 rounds:180 teacher     the first two for at most so many seconds
    $R/warm warm:200 &                  beside the teacher, for what torch compiles
    $R short                            which recipe learns fastest, 45 s each
    $R madpipe                          until it is done; teacher and student do not both fit
    $R all-madpipe abm engines
    $R madpipe --carried F              on the next machine; F has teacher.json, teacher.tar.*

Afterwards, on any machine: `python -m benchmarks.gpu join --carried F --out G` checks the parts
and puts them together. `--tiny` tries all of it on a CPU in a minute or two.

A piece is done in the order given, as long as the budget lasts or `PIECE:SECONDS` allow. Stages of
madpipe stop at a checkpoint in --home, and the same call goes on from it, as long as the settings
and the code are the same; what is done is only delivered again. A script is done when it succeeds.
--out gets log.txt at all times, and after each piece PIECE.json and, where they fit into eight
files of 16 MiB and 64 MiB, its files as PIECE.tar.00 and so on. The later pieces learn from the
teacher in half precision, as it travels, and watch by the held-out images alone.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import gpu_figures
from benchmarks.gpu_figures import TEACHER, Parcel
from benchmarks.gpu_pieces import SCRIPTS, STAGES, TINY, TINY_SCRIPTS
from pipeline.config import template
from pipeline.config.presets import PRESETS
from pipeline.project import Project
from stages.catalog import declare

ROOT = Path(__file__).parent.parent
# So that nothing is left running beside the next call, however this one ends.
_DIES_TOO = f"import ctypes; ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)}); "
MADPIPE = f"{_DIES_TOO}from pipeline.cli.main import main; main()"
MODULE = (
    f"{_DIES_TOO}import runpy, sys; del sys.argv[0]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
LOG_EVERY_S = 10.0
LEAST_S = 20.0
INTERRUPTED = 130
FINISHED = (0, 3, 4)
"""Exit codes of a madpipe run that came to its gates."""
REPORTS = ("html", "json")
JOIN = "join"
NEED_TEACHER = {*STAGES, "short"} - {"teacher"}
RANDOM = "random.safetensors"
"""Weights of the teacher's architecture that nothing trained."""


@dataclass(slots=True)
class Row:
    """The row on this machine: its folders, and the settings of all its stages."""

    data: Path
    home: Path
    out: Path
    settings: tuple[str, ...]
    is_tiny: bool
    stop_s: float
    """Allowed to a stage for its checkpoint."""
    visited: list[str] = field(default_factory=list)
    """Pieces that this call has come to."""

    def prepare(self, carried: Path | None) -> None:
        """Write the settings, link the held-out images, take in a teacher that was carried."""
        for folder in (self.home, self.out):
            folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(template.render(PRESETS["cifar10"]), encoding="utf-8")
        test, link = self.data / "test", self._held_out / "test"
        if test.is_dir():
            self._held_out.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(test.resolve(), target_is_directory=True)
        if carried is not None:
            content = gpu_figures.joined(carried, "teacher")[TEACHER]
            (self.home / TEACHER).write_bytes(content)
            shutil.copyfile(carried / "teacher.json", self.home / "teacher.json")
            print(f"teacher: {carried} has it ({len(content)} bytes)", flush=True)

    def run(self, piece: str, budget_s: float) -> str:
        """Work on a piece; return what became of it."""
        self.visited.append(piece)
        if piece in STAGES:
            words = [MADPIPE, "run", STAGES[piece][0], "--traceback", "--config", str(self._config)]
            for setting in self._settings_of(piece):
                words += ["--set", setting]
        else:
            scripts = TINY_SCRIPTS if self.is_tiny else SCRIPTS
            teacher = self.home / (RANDOM if piece == "warm" else TEACHER)
            folders = {"teacher": teacher, "data": self._root.resolve(), "home": self.home}
            words = [MODULE, *(word.format(**folders) for word in scripts[piece].split())]
            words += gpu_tests() if piece == "tests" else ()
            if piece == "warm":
                arch = "resnet8" if self.is_tiny else PRESETS["cifar10"].teacher.arch
                gpu_figures.write_random(teacher, arch, self._root / "test")
        if piece in NEED_TEACHER and not (self.home / TEACHER).is_file():
            return "failed: there is no teacher; name the piece teacher before, or --carried"
        done = self.home / f"{piece}.done"
        code: int | None = 0
        if piece in STAGES or not done.is_file():
            code = self._child(piece, words, budget_s)
        if code == 0 or (piece.startswith("all") and code in FINISHED):
            done.touch()
            return f"done, gates left with {code}" if code else "done"
        return "stopped" if code in (None, INTERRUPTED) else f"failed with {code}, see log.txt"

    def deliver(self, piece: str) -> None:
        """Write what is there of a piece to the folder that comes back."""
        try:
            if piece.startswith("all"):
                if (self.home / f"{piece}.done").is_file():
                    self._report(piece)
                return
            parcel = self._parcel(piece) if piece in STAGES else None
            if parcel is None:
                return
            if left := gpu_figures.deliver(parcel, self.out):
                print(f"{piece}: {', '.join(left)} do not fit; call again with {piece} alone")
            print(gpu_figures.summary(parcel.figures), flush=True)
        except Exception:  # noqa: BLE001  (no fault of a figure is worth the pieces to come)
            traceback.print_exc()

    def _report(self, piece: str) -> None:
        for form in REPORTS:
            words = [MADPIPE, "report", "--format", form, "--config", str(self._config)]
            words += ["--out", str((self.out / f"report.{form}").resolve())]
            for setting in self._settings_of(piece):
                words += ["--set", setting]
            self._child(piece, words, LEAST_S * 3)

    def _parcel(self, piece: str) -> Parcel | None:
        project = Project.open(self._config, self._settings_of(piece), declare)
        if piece == "teacher":
            return gpu_figures.teacher_parcel(project, self.home)
        if not (self.home / TEACHER).is_file():
            return None
        return gpu_figures.distill_parcel(piece, project, self.home)

    @property
    def _config(self) -> Path:
        return self.home / "pipeline.toml"

    @property
    def _held_out(self) -> Path:
        return self.home / "held-out"

    @property
    def _root(self) -> Path:
        # Without the training images, so that a machine that has none gives the same key.
        return self._held_out if self._held_out.is_dir() else self.data

    def _settings_of(self, piece: str) -> list[str]:
        own = STAGES[piece][1:]
        if piece == "teacher":
            own = (f"data.root={self.data.resolve()}",)
        else:
            own += (f"data.root={self._root.resolve()}", "distill.monitor=held-out")
            own += (f"teacher.weights={(self.home / TEACHER).resolve()}",)
        return ["run.checkpoint_every_s=60", *own, *(TINY if self.is_tiny else ()), *self.settings]

    def _child(self, piece: str, words: Sequence[str], budget_s: float) -> int | None:
        """Run python until it ends or time is up; return its exit code, None where it had none."""
        log = self.home / f"{piece}.txt"
        deadline_s = time.monotonic() + budget_s
        with log.open("a", encoding="utf-8") as text:
            text.write(f"\n## {piece}, {time.strftime('%H:%M:%S')}: {' '.join(words[1:])}\n\n")
            text.flush()
            process = subprocess.Popen(
                [sys.executable, "-c", *words],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=text,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while (left_s := deadline_s - time.monotonic()) > 0:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(timeout=min(LOG_EVERY_S, left_s))
                    self.write_log()
                self._stop(piece, process)
                return None  # noqa: TRY300  (an else would belong to the except, not to the loop)
            except SystemExit:
                self._stop(piece, process)
                raise
            finally:
                # Whatever it started and left would go on beside the next piece.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _stop(self, piece: str, process: subprocess.Popen[bytes]) -> None:
        # Not SIGINT, which is ignored where this script was started in the background.
        process.terminate()
        if piece in STAGES:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self.stop_s)

    def write_log(self) -> None:
        """Write the end of what each piece of this call printed to one file, the last one last."""
        logs = [self.home / f"{piece}.txt" for piece in self.visited]
        most = gpu_figures.PART_BYTES // 4 // max(1, len(logs))
        (self.out / "log.txt").write_bytes(
            b"".join(path.read_bytes()[-most:] for path in logs if path.is_file())
        )


def environment() -> dict[str, str]:
    """Return the environment in which this very project is found, with no folder of others."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def gpu_tests() -> list[str]:
    """Return the test files with a test for a GPU; to collect all others would take as long."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path) for path in files if "mark.gpu" in path.read_text("utf-8")]


def limits(pieces: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the name of each piece and its own limit in seconds, of `PIECE` or `PIECE:SECONDS`."""
    for piece in pieces:
        name, _, seconds = piece.partition(":")
        if name not in STAGES | SCRIPTS:
            choices = ", ".join([*SCRIPTS, *STAGES, JOIN])
            sys.exit(f"command line: no such piece ({name}); name one of {choices}")
        yield name, float(seconds or "inf")


def work(row: Row, pieces: Sequence[tuple[str, float]], deadline_s: float) -> dict[str, str]:
    """Work on the pieces in order until the deadline; return what became of each."""
    states: dict[str, str] = {}
    for piece, limit_s in pieces:
        left_s = min(limit_s, deadline_s - time.monotonic() - row.stop_s)
        if left_s < min(LEAST_S, limit_s) * (not row.is_tiny):
            states[piece] = "not begun"
            continue
        begin_s = time.monotonic()
        try:
            states[piece] = row.run(piece, left_s)
        finally:
            row.write_log()
            row.deliver(piece)
        print(f"{piece}: {states[piece]} ({time.monotonic() - begin_s:.0f} s)", flush=True)
    return states


def join(folder: Path, out: Path) -> None:
    """Put the parts of every piece in `folder` together, in a folder for each in `out`."""
    rows = []
    for described in sorted(folder.glob("*.json")):
        figures = gpu_figures.read(described)
        if figures.parts:
            target = out / figures.piece
            target.mkdir(parents=True, exist_ok=True)
            for name, content in gpu_figures.joined(folder, figures.piece).items():
                (target / name).write_bytes(content)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(described, out)
        rows.append(figures)
    print(gpu_figures.table(rows))


def main() -> None:
    """Work on the pieces that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pieces", nargs="+", metavar="PIECE[:SECONDS]")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=ROOT / ".madpipe" / "gpu")
    parser.add_argument("--carried", type=Path, help="folder with the parts of a teacher")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--stop-s", type=float, default=30.0, help="kept of it for stopping")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    deadline_s = time.monotonic() + arguments.budget_s
    if arguments.pieces == [JOIN]:
        join(arguments.carried, arguments.out)
        return
    pieces = list(limits(arguments.pieces))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.environ.pop("MADPIPE_HOME", None)
    row = Row(
        data=arguments.data,
        home=arguments.home.resolve(),
        out=arguments.out,
        settings=tuple(arguments.set),
        is_tiny=arguments.tiny,
        stop_s=arguments.stop_s,
    )
    row.prepare(arguments.carried)
    states = work(row, pieces, deadline_s)
    print(", ".join(f"{piece}: {state}" for piece, state in states.items()))
    sys.exit(any(state.startswith("failed") for state in states.values()))


if __name__ == "__main__":
    main()
