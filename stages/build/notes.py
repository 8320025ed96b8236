"""What build says of the engines that it made: how far they are from their ONNX file."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from pipeline.gates.build_records import Candidate, Candidates
from pipeline.stage import OnNote
from stages.build.autotune import AutotuneResult
from stages.engines.selection import TRAINED
from stages.image_bank import Images
from stages.onnxgraph.convert import ROUNDED
from stages.onnxgraph.intake import Intake

_USUAL_DIFFERENCE = {"fp32": 0.02, "fp16": 0.05, "bf16": 0.2}
"""Share of the logits' spread that a precision may cost; TF32, an NVIDIA GPU's fp32, included."""
_PLAN_OVERHEAD_BYTES = 1_000_000
"""More than the smallest plan holds besides its weights."""


def of_changes(onnx: Path, source: Intake, on_note: OnNote) -> None:
    """Say what was changed in a file before anything is built from it, and what was kept."""
    for change in source.changes:
        on_note(f"{onnx}: {change}")
    if source.is_quantized:
        on_note(f"{onnx}: it is quantized already, and is built as it is, as int8")


def of_images(images_NCHW: Images | None, place: str, on_note: OnNote) -> None:
    """Warn of images from which no range of activations can be had."""
    if images_NCHW is None or len(images_NCHW) == 1:
        return
    first_1CHW = np.asarray(images_NCHW[:1])
    others = (np.asarray(images_NCHW[n : n + 1]) for n in range(1, len(images_NCHW)))
    if all(np.array_equal(x_1CHW, first_1CHW) for x_1CHW in others):
        on_note(
            f"warning: {place}: all {len(images_NCHW)} images are the same, so ranges and "
            "agreement hold for that one alone; give images like those that the network will see"
        )


def of_engine(
    result: AutotuneResult, candidates: Candidates, model: ModelProto, on_note: OnNote
) -> None:
    """Say how an engine agrees with its file, or why it was taken, and where it is too large."""
    if candidates.device is None:
        _of_named(result, candidates, on_note)
    else:
        _of_candidates(candidates, on_note)
    if note := _plan_size(result, model):
        on_note(note)
    if result.equalised_pairs:
        on_note(
            f"channels between {result.equalised_pairs} pairs of layers had ranges far apart, and "
            "were brought together before rounding (build.equalise = false leaves them)"
        )
    if result.reduced_layers:
        kept = f"; {result.full_range_layers} depthwise layers keep 8, where none do"
        on_note(
            f"{result.reduced_layers} layers have int8 weights of 7 bits, since products of 8 "
            f"overflow on this processor without VNNI{kept if result.full_range_layers else ''}"
        )


def _of_named(result: AutotuneResult, candidates: Candidates, on_note: OnNote) -> None:
    precision, difference = result.precision, result.logit_difference
    limit = candidates.max_disagreement
    trained = ", trained," if result.is_trained else ""
    if result.disagreement is not None and precision in ROUNDED:
        agrees = (
            f"{result.backend} {precision}{trained} gives the class of the ONNX file to "
            f"{1 - result.disagreement:.4f} of {candidates.images} calibration images; logits "
            f"differ by up to {difference:.2g} of their spread"
        )
        if result.classes_seen == 1:
            agrees += ". All of them get one class, so this says little"
        if result.disagreement > limit:
            agrees = (
                f"warning: {agrees}. That is less than {1 - limit:g} (build.max_disagreement = "
                f"{limit:g}): {_training(result)}leave --precision out to let sensitive layers "
                f"stay in float, or try another {'precision' if precision == 'int4' else 'backend'}"
            )
        on_note(agrees)
    elif difference is not None and difference > _USUAL_DIFFERENCE.get(precision, 1.0):
        on_note(
            f"warning: {result.backend} {precision} differs from the ONNX file by up to "
            f"{difference:.2g} of the logits' spread; validate it before use"
        )


def _training(result: AutotuneResult) -> str:
    """Return the advice to train what was rounded."""
    is_open = result.precision in TRAINED and not result.is_trained
    return "train its weights with --set 'build.int8=\"trained\"', " if is_open else ""


def _plan_size(result: AutotuneResult, model: ModelProto) -> str | None:
    """Return what to say of an int8 or int4 plan that is larger than one of fp16 would be."""
    if (
        result.precision not in TRAINED
        or not result.backend.startswith("tensorrt")
        or not result.bytes
    ):
        return None
    floats = (t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    half_bytes = 2 * sum(int(np.prod(tensor.dims)) for tensor in floats)
    if result.bytes <= half_bytes + _PLAN_OVERHEAD_BYTES:
        return None
    return (
        f"the {result.precision} plan ({result.bytes / 1e6:.1f} MB) is larger than all weights in "
        f"fp16 ({half_bytes / 1e6:.1f} MB): compare it with --precision fp16"
    )


def _of_candidates(candidates: Candidates, on_note: OnNote) -> None:
    """Say in a line why the others were not chosen, where some missed or int8 brought nothing."""
    (chosen,) = (entry for entry in candidates.candidates if entry.verdict == "chosen")
    others = [entry for entry in candidates.candidates if entry is not chosen]
    is_plain = chosen.precision == "fp32" and any(entry.precision != "fp32" for entry in others)
    if is_plain or any(entry.verdict in ("missed", "failed") for entry in others):
        reasons = "; ".join(_reason(entry, candidates) for entry in others)
        on_note(f"auto took {_name(chosen)} ({chosen.p50_ms or 0:.3g} ms); {reasons}")


def _name(entry: Candidate) -> str:
    layers = f" with {len(entry.float_layers)} layers in fp32" if entry.float_layers else ""
    trained = ", trained" if entry.is_trained else ""
    return f"{entry.backend} {entry.precision}{trained}{layers}"


def _reason(entry: Candidate, candidates: Candidates) -> str:
    name = _name(entry)
    if entry.verdict == "missed" and entry.disagreement is not None:
        return (
            f"{name} missed: {entry.disagreement:.4f} of {candidates.images} images get another "
            f"class, at most {candidates.max_disagreement:g} may"
        )
    if entry.verdict == "admissible" and entry.p50_ms is not None:
        return f"{name} agrees and is slower ({entry.p50_ms:.3g} ms)"
    return f"{name} {entry.verdict}: {entry.reason}"
