"""One network handed over as a file of every kind, and the student that each ends in.

    uv run python -m benchmarks.teacher_kinds ROWS.jsonl [--seeds 1] [--only TEXT]

The network, `four_convolutions.py`, normalises its images itself and learns the digits' training
part once for each seed; for a name of a hub it is timm's smallest, in a local cache. Each kind is
then a `madpipe run validate` of its own from nothing, with the default settings but for
`teacher.weights` and what that kind needs. Rows that are in ROWS.jsonl are not measured again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import four_convolutions
from benchmarks.startup import heading
from pipeline import exit_codes
from pipeline.settings import Data
from stages.data import images

ROOT = Path(__file__).parent.parent
EPOCHS, BATCH = 25, 64
_JUDGED = (exit_codes.DONE, exit_codes.GATE_FAILED, exit_codes.GATE_INCONCLUSIVE)
_DIGITS = tuple("0123456789")
_TIMM = "test_resnet"
_NAME, _COMMIT = "own/digits", "0" * 40


class _Softmax(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        p_BK: Tensor = self.network(x).softmax(1)
        return p_BK


def trained(seed: int, *, of_timm: bool = False) -> tuple[nn.Module, Tensor]:
    """Return the network in evaluation mode, and two images of shape BCHW to trace with."""
    torch.manual_seed(seed)
    network: nn.Module = four_convolutions.Network()
    if of_timm:
        network = timm.create_model(_TIMM, in_chans=1, num_classes=len(_DIGITS))
    train = images.load(Data(), None).train
    x_NCHW, y_N = train.batch(slice(None), torch.device("cpu")), train.y_N
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(EPOCHS):
        for indices_B in torch.split(torch.randperm(len(y_N)), BATCH):
            loss = functional.cross_entropy(network(x_NCHW[indices_B]), y_N[indices_B])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network.eval(), x_NCHW[:2].contiguous()


def _checkpoint(network: nn.Module, _: Tensor, folder: Path) -> Path:
    shutil.copyfile(four_convolutions.__file__, folder / "net.py")
    torch.save({"state_dict": network.state_dict()}, folder / "teacher.pth")
    return folder / "teacher.pth"


def _pt2(network: nn.Module, x: Tensor, folder: Path) -> Path:
    program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, folder / "teacher.pt2")
    return folder / "teacher.pt2"


def _script(network: nn.Module, _: Tensor, folder: Path) -> Path:
    script: Any = torch.jit.script(network)
    script.save(folder / "teacher.ts")
    return folder / "teacher.ts"


def _frozen(network: nn.Module, _: Tensor, folder: Path) -> Path:
    script: Any = torch.jit.freeze(torch.jit.script(network))
    script.save(folder / "teacher.ts")
    return folder / "teacher.ts"


def _hub(network: nn.Module, _: Tensor, folder: Path) -> Path:
    """Write the network as a repository in the cache of the hub, as a download leaves it."""
    repository = folder / "hub" / f"models--{_NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / _COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(_COMMIT, encoding="utf-8")
    images = {"input_size": [1, 8, 8], "mean": [0.0], "std": [1.0], "crop_pct": 1.0}
    config = {"architecture": _TIMM, "num_classes": len(_DIGITS), "label_names": list(_DIGITS)}
    text = json.dumps({**config, "pretrained_cfg": {**images, "interpolation": "bilinear"}})
    (snapshot / "config.json").write_text(text, encoding="utf-8")
    save_file(network.state_dict(), snapshot / "model.safetensors")
    return repository


def _onnx(network: nn.Module, x: Tensor, folder: Path, *, is_folded: bool = False) -> Path:
    torch.onnx.export(
        network,
        (x,),
        folder / "teacher.onnx",
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        optimize=is_folded,
    )
    return folder / "teacher.onnx"


KINDS: Mapping[str, Callable[[nn.Module, Tensor, Path], Path]] = {
    "a name: hf:OWNER/REPO": _hub,
    "checkpoint and net.py:Network": _checkpoint,
    ".pt2": _pt2,
    ".pt2 that ends in a softmax": lambda net, x, folder: _pt2(_Softmax(net).eval(), x, folder),
    "TorchScript": _script,
    "TorchScript, frozen": _frozen,
    "ONNX": _onnx,
    "ONNX, BatchNorm folded": lambda net, x, folder: _onnx(net, x, folder, is_folded=True),
}


def run(kind: str, seed: int) -> dict[str, Any]:
    """Hand the network over as one kind, run madpipe, and return what came of it."""
    network, x = trained(seed, of_timm=KINDS[kind] is _hub)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = KINDS[kind](network, x, folder)
        own = ["teacher.input=unit"]
        if path.suffix == ".pth":
            own = ["teacher.arch=net.py:Network", "data.mean=[0.0]", "data.std=[1.0]"]
        weights = path.name
        if path.is_dir():
            own, weights = [], f"hf:{_NAME}"
        changes = [f"seed={seed}", f"teacher.weights={weights}", "build.precision=fp32", *own]
        options = [part for change in changes for part in ("--set", change)]
        (folder / "pipeline.toml").write_bytes((ROOT / "pipeline.toml").read_bytes())
        environment = {key: value for key, value in os.environ.items() if key != "MADPIPE_HOME"}
        environment |= {"HF_HOME": str(folder)}
        madpipe = str(Path(sys.executable).with_name("madpipe"))
        begin_s = time.perf_counter()
        done = subprocess.run(
            [madpipe, "run", "validate", *options],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        whole_s = time.perf_counter() - begin_s
        # A gate may fail, on the speedup of what is small already; that is part of the row.
        if done.returncode not in _JUDGED:
            raise SystemExit(f"{kind}: the run ended with {done.returncode}: {done.stderr[-2000:]}")
        report = subprocess.run(
            [madpipe, "report", "--format", "json", *options],
            cwd=folder, env=environment, capture_output=True, check=True,
        )  # fmt: skip
    stages = {stage["name"]: stage for stage in json.loads(report.stdout)["stages"]}
    metrics = stages["validate"]["metrics"]
    return {
        "kind": kind,
        "seed": seed,
        "teacher_top1": metrics["teacher_top1"],
        "engine_top1": metrics["engine_top1"],
        "distill_s": stages["distill"]["seconds"],
        "whole_s": whole_s,
        "precision": stages["distill"]["metrics"]["precision"],
        "exit_code": done.returncode,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown, in the order of the kinds."""
    lines = [
        "| the teacher as | teacher | engine | drop, points | distill s | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        own = [row for row in rows if row["kind"] == kind]
        if not own:
            continue

        def mean(name: str, own: list[dict[str, Any]] = own) -> float:
            return float(sum(row[name] for row in own) / len(own))

        teacher, engine = 100 * mean("teacher_top1"), 100 * mean("engine_top1")
        seeds = ", ".join(str(row["seed"]) for row in own)
        lines.append(
            f"| {kind} | {teacher:.2f} | {engine:.2f} | {teacher - engine:.2f} | "
            f"{mean('distill_s'):.0f} | {seeds} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what ROWS.jsonl lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    path: Path = arguments.rows
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    for seed in range(arguments.seeds):
        for kind in KINDS:
            is_there = any((row["kind"], row["seed"]) == (kind, seed) for row in rows)
            if is_there or arguments.only not in kind:
                continue
            rows.append(run(kind, seed))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], file=sys.stderr)
    heading("Teachers of every kind, on digits")
    print(table(rows))


if __name__ == "__main__":
    main()
