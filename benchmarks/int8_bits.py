"""int8 with weights of 8 bits, of 7, and of 7 but in depthwise layers: agreement and latency.

    python benchmarks/int8_bits.py --onnx FILE --calibration FOLDER [--images 64] [--threads 1]

Before it, `python benchmarks/hide_avx512.py --` makes both backends compute as with AVX2 alone.
Agreement and logit difference are against the fp32 file in ONNX Runtime on the images that the
ranges are from; latencies are medians of one image, all engines in turns.

Shape legend: N images, C channel, H W space.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from pipeline import machine
from pipeline.settings import Build
from stages.build import autotune, stage
from stages.build.autotune import Autotuner
from stages.engines import selection
from stages.onnxgraph import calibration_images, convert, qdq

VARIANTS = {"8": (False, False), "7": (True, False), "7, depthwise 8": (True, True)}
"""Bits of the weights -> whether they are reduced, and whether depthwise ones are not."""


def main() -> None:
    """Print a row for each engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    options = Build(precision="int8", device="cpu")
    source = stage.read(arguments.onnx, options)
    images_NCHW = calibration_images.load(arguments.calibration, source.model, "--calibration")
    converter = convert.PrecisionConverter(source.model, images_NCHW[: arguments.images], options)
    possible = [c for c in selection.candidates(Build(), "cpu") if c.precision in ("fp32", "int8")]
    print(f"{machine.cpu_model()}, {arguments.onnx.name}, {arguments.images} images")
    full_range = qdq._full_range
    with TemporaryDirectory() as name, mock.patch.object(autotune, "_BUDGET_S", 3.0):
        tuner = Autotuner(
            converter, images_NCHW[: arguments.images], device="cpu", folder=Path(name),
            threads=arguments.threads,
        )  # fmt: skip
        labels: list[str] = []
        tuner.run([c for c in possible if c.precision == "fp32"])
        labels += ["32"] * len(tuner.results)
        for label, (is_reduced, keeps_depthwise) in VARIANTS.items():
            tuner.folder = Path(name) / label
            tuner.folder.mkdir()
            kept = full_range if keeps_depthwise else lambda *_: {}
            with (
                mock.patch.object(convert, "int8_products_saturate", lambda r=is_reduced: r),
                mock.patch.object(qdq, "_full_range", kept),
                mock.patch.object(Autotuner, "_mix_precisions", return_value=None),
            ):
                tuner.run([c for c in possible if c.precision == "int8"])
            labels += [label] * (len(tuner.results) - len(labels))
    for label, result in zip(labels, tuner.results, strict=True):
        agreement = 1 - (result.disagreement or 0.0)
        print(
            f"{result.backend:12s} {result.precision:5s} weights {label:15s} "
            f"agreement {agreement:.3f}  logit difference {result.logit_difference:.3f}  "
            f"p50 {result.p50_ms:.2f} ms  {result.reason if result.p50_ms is None else ''}"
        )
    print(f"{tuner.repetitions} repetitions in turns")


if __name__ == "__main__":
    main()
