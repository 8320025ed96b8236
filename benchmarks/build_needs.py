"""What `precision = "auto"` says beforehand of its time and memory, against what it then takes.

    OMP_NUM_THREADS=1 python benchmarks/build_needs.py --onnx FILE [--size 96] [--images 64]

Times are of the process (one thread), so that other load does not count. Images are noise; int8 is
rounded, and no disagreement is allowed, so that sensitive layers are sought.

Shape legend: N images, C channel, H W space.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np

from pipeline import machine
from pipeline.errors import StageError
from pipeline.settings import Build
from stages.build import needs, stage
from stages.build.autotune import Autotuner


def main() -> None:
    """Print a row of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--size", type=int)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--bisect-layers", type=int, default=1)
    arguments = parser.parse_args()
    options = Build(
        device="cpu", int8="rounded", max_disagreement=0.0, bisect_layers=arguments.bisect_layers
    )
    source = stage.read(arguments.onnx, options)
    dims = source.model.graph.input[0].type.tensor_type.shape.dim
    for dim in dims[2:]:
        dim.dim_value = arguments.size or dim.dim_value
    source.model.graph.ClearField("value_info")
    shape = (arguments.images, *(dim.dim_value for dim in dims[1:]))
    figures: dict[str, Any] = {"trials": 0, "bisection_s": 0.0}
    of_auto, mix = needs.of_auto, Autotuner._mix_precisions

    def of_auto_kept(*positional: Any, **named: Any) -> needs.Needs:
        estimate = of_auto(*positional, **named)
        figures["needs"], figures["begin_s"] = estimate, time.process_time() - positional[4]
        return estimate

    def mix_timed(tuner: Autotuner) -> None:
        begin_s = time.process_time()
        mix(tuner)
        figures["bisection_s"] = time.process_time() - begin_s

    def on_progress(done: int, total: int, unit: str) -> None:
        if unit == "graphs tried":
            figures["trials"], figures["most"] = done, total

    with (
        TemporaryDirectory() as name,
        mock.patch.object(needs, "of_auto", of_auto_kept),
        mock.patch.object(Autotuner, "_mix_precisions", mix_timed),
        mock.patch.object(time, "perf_counter", time.process_time),
    ):
        images = np.random.default_rng(0).random(shape, dtype=np.float32)
        np.savez(Path(name) / "x.npz", x=images)
        try:
            stage.build(
                arguments.onnx, Path(name) / "engine", Path(name) / "manifest.json", options,
                source=source, calibration_path=Path(name) / "x.npz", on_progress=on_progress,
            )  # fmt: skip
        except StageError as error:
            print(error)
        figures["candidates_s"] = time.process_time() - figures["begin_s"] - figures["bisection_s"]
    estimate: needs.Needs = figures["needs"]
    trial_s = figures["bisection_s"] / (figures["trials"] or 1)
    peak_bytes = machine.peak_memory_bytes() or 0
    print(
        f"{arguments.onnx.stem}, {shape[2]} px, {arguments.images} images: candidates "
        f"{estimate.seconds:.1f} s estimated, {figures['candidates_s']:.1f} measured; the whole "
        f"search {estimate.more_s:.1f} s estimated, {trial_s:.2f} s for "
        f"each of {figures['trials']} trials of at most {figures.get('most', 0)}; "
        f"{estimate.memory_bytes / 2**20:.0f} MiB estimated, {peak_bytes / 2**20:.0f} measured"
    )


if __name__ == "__main__":
    main()
