"""The quantities that a gate can bound, by the names they have in [gates] and in the report."""

MEASURES: dict[str, str] = {
    "teacher_top1": "share of held-out images that the teacher gets right",
    "student_top1": "share of held-out images that the student gets right",
    "engine_top1": "share of held-out images that the engine gets right",
    "student_top1_drop": "teacher's top-1 less the student's, on the same images",
    "onnx_top1_drop": "student's top-1 less the ONNX file's, on the same images",
    "graph_top1_drop": "student's top-1 less that of the graph of an engine for other GPUs",
    "engine_top1_drop": "student's top-1 less the engine's, on the same images",
    "student_top5_drop": "teacher's top-5 less the student's, with more than 5 classes",
    "engine_top5_drop": "student's top-5 less the engine's, with more than 5 classes",
    "student_agreement": "share of held-out images on which student and teacher predict the same",
    "engine_agreement": "share of held-out images on which engine and teacher predict the same",
    "student_bank_agreement": 'the same on synthetic images, with validate.images = "bank"',
    "engine_bank_agreement": 'the same on synthetic images, with validate.images = "bank"',
    "student_images_agreement": "the same on unlabelled images held back, with distill.images",
    "engine_images_agreement": "the same on unlabelled images held back, with distill.images",
    "student_calibration_error": "expected calibration error of the student, 15 bins",
    "engine_calibration_error": "expected calibration error of the engine, 15 bins",
    "speedup": "teacher's latency over the engine's, at batch size 1 (else the first)",
    "speedup_same_backend": "the same with the teacher as an fp32 engine of the same backend",
    "engine_p50_ms": "median latency of the engine, at batch size 1 (else the first)",
    "engine_p90_ms": "90th percentile of it, where the sample supports one",
    "engine_p99_ms": "99th percentile of it, where the sample supports one",
    "engine_first_ms": "median time from opening the engine to its first logits, in new processes",
    "engine_first_cached_ms": "the same with kernels kept from before, where the runtime keeps any",
    "engine_images_per_s": "images a second of the engine, at the largest batch size",
    "engine_bytes": "size of the engine",
}

COMPARED: dict[str, str] = {
    "engine_top1_drop": "A's engine's top-1 less B's, on the same images",
    "student_top1_drop": "A's student's top-1 less B's, on the same images",
    "latency_ratio": "B's engine latency over A's, each against the teacher measured beside it",
    "engine_bytes_ratio": "size of B's engine over A's",
}
"""What `madpipe compare A B` can bound by min and max; B is the one that is judged."""

CHANGES: dict[str, str] = {
    name: words
    for name, words in MEASURES.items()
    if not name.endswith(("_drop", "_images_agreement"))
} | {
    "onnx_top1": "share of held-out images that the ONNX file gets right",
    "graph_top1": "share of held-out images that the graph of an engine for other GPUs gets right",
    "engine_resident_bytes": "memory that the loaded engine takes",
    "process_peak_bytes": "most memory that the process of validate took",
}
"""What `madpipe compare A B` can bound by how much worse B is than A.

Not drops: A's and B's top-1 are paired image by image, which says the same of them. Not agreement
on unlabelled images: nothing stored says that two runs held the same ones back.
"""


def is_drop(name: str) -> bool:
    """Tell whether a measure is a loss, so that its bound is a margin of non-inferiority."""
    return name.endswith("_drop")


def is_higher_better(name: str) -> bool:
    """Tell which way a measure is better; of a drop, an error, a time or a size less is better."""
    return name.startswith("speedup") or name.endswith(("_top1", "_agreement", "_per_s"))


def is_exact(name: str) -> bool:
    """Tell whether a measure is one number that no sample is behind."""
    return name.endswith("_bytes")


def unit(name: str) -> str:
    """Return the unit of a measure, `1` where it is a share or a ratio."""
    units = {"_ms": "ms", "_per_s": "images/s", "_bytes": "bytes"}
    return next((text for suffix, text in units.items() if name.endswith(suffix)), "1")


def is_share(name: str) -> bool:
    """Tell whether a measure is a share, or a difference of two, so that it is 1 at most."""
    return name.endswith(("_top1", "_drop", "_agreement", "_calibration_error"))


MOST_RESAMPLED_CONFIDENCE = 0.995
"""The outermost quantile that is stored of a resampled measure."""


def is_resampled(name: str) -> bool:
    """Tell whether a measure's bounds are stored quantiles, which end at some confidence."""
    if name.startswith("engine_first"):  # bounded by the values themselves
        return False
    return name.startswith(("speedup", "latency")) or name.endswith(
        ("_ms", "_per_s", "_calibration_error")
    )
