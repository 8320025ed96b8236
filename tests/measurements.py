"""Measurements, samples and candidates for tests, built from the records that hold them."""

from typing import Any, TypeVar

import msgspec

from pipeline.gates.build_records import EngineManifest, Signature
from pipeline.gates.measurements import (
    Accuracy,
    Agreement,
    BatchLatency,
    BatchSamples,
    CalibrationBin,
    CalibrationError,
    ClassLoss,
    ClassRecall,
    Conditions,
    DatasetPart,
    Drift,
    FirstInference,
    Latency,
    LatencyQuantiles,
    LatencyRecord,
    LatencySamples,
    Measurements,
    Memory,
    PairedDrop,
    PercentileNeeds,
    RatioRecord,
    Samples,
    StepChange,
    WarmUp,
)
from pipeline.gates.real_images import RealImages

Record = TypeVar("Record", bound=msgspec.Struct)


def changed(record: Record, path: str = "", /, **changes: Any) -> Record:
    """Return a record with other values of some fields; all names are those of the JSON.

    Args:
        record: What to change; it stays as it is.
        path: The place of the fields, such as `latency.batches.0.speedup`; empty: the record.
        changes: The values, records or what they are in JSON.
    """
    document = msgspec.to_builtins(record)
    place = document
    for name in path.split(".") if path else ():
        place = place[int(name)] if isinstance(place, list | tuple) else place[name]
    place.update(msgspec.to_builtins(changes))
    return msgspec.convert(document, type(record))


def ratio(median: float, low: float, high: float, **more: Any) -> RatioRecord:
    """Return a speed-up with bounds at a confidence of 0.95."""
    fields = {"pairs": 400, "processes": 1, "spread": 0.0, "confidence": 0.95} | more
    return RatioRecord(
        median=median,
        interval=(0.9 * median, 1.1 * median),
        quantiles={"0.05": low, "0.95": high},
        **fields,
    )


def latency(p50_ms: float, low: float, high: float) -> LatencyRecord:
    """Return the latency of one network at batch size 1, with bounds of the median."""
    return LatencyRecord(
        batch=1,
        n=400,
        p50_ms=p50_ms,
        processes=1,
        spread=0.0,
        p90_ms=0.7,
        p99_ms=None,
        needs=PercentileNeeds(p99_ms=459),
        mean_ms=p50_ms,
        coefficient_of_variation=0.05,
        drift=Drift(ratio=1.0, interval=(0.99, 1.01)),
        causes=(),
        quantiles=LatencyQuantiles(
            p50_ms={"0.05": low, "0.95": high}, p90_ms={"0.05": 0.68, "0.95": 0.73}
        ),
    )


def accuracy(hits: int) -> Accuracy:
    """Return the accuracy of a network that gets so many of 540 images right."""
    return Accuracy(
        top1=round(hits / 540, 2),
        hits=hits,
        n=540,
        top5=1.0,
        top5_hits=540,
        calibration=CalibrationError(
            error=0.02,
            mean_confidence=0.97,
            n=540,
            bins=(
                CalibrationBin(n=40, confidence=0.6, accuracy=0.7),
                CalibrationBin(n=500, confidence=0.99, accuracy=0.98),
            ),
            quantiles={"0.05": 0.01, "0.95": 0.03},
        ),
        recall=(
            ClassRecall(class_name="a", hits=max(0, hits - 300), n=240),
            ClassRecall(class_name="b", hits=min(300, hits), n=300),
        ),
    )


def paired(reference: str, before: str, lost: int, gained: int) -> PairedDrop:
    """Return what a network lost and gained of 540 images."""
    worst = (ClassLoss(class_name="a", lost=lost, gained=0, n=240),) if lost else ()
    return PairedDrop(
        reference=reference,
        lost=lost,
        gained=gained,
        n=540,
        top5_lost=0,
        top5_gained=0,
        step=StepChange(
            reference=before,
            lost=lost,
            gained=gained,
            n=540,
            changed=lost + gained,
            worst=worst,
        ),
    )


AGREEMENT = Agreement(hits=532, n=540, value=0.985)

MANIFEST = EngineManifest(
    backend="onnxruntime",
    backend_version="1.0",
    device="cpu",
    precision="fp32",
    engine="engine.onnx",
    sha256="1" * 64,
    onnx_sha256="2" * 64,
    signature=Signature(
        input="images",
        input_type="FLOAT",
        shape=(1, 8, 8),
        output="logits",
        output_type="FLOAT",
        num_classes=2,
        classes=("a", "b"),
    ),
)

MEASURED = Measurements(
    dataset=DatasetPart(kind="held-out", n=540, id="0" * 64, classes=("a", "b")),
    accuracy={
        "teacher": accuracy(535),
        "student": accuracy(531),
        "onnx": accuracy(531),
        "engine": accuracy(531),
    },
    agreement={"student": AGREEMENT, "onnx": AGREEMENT, "engine": AGREEMENT},
    bank_agreement={},
    paired={
        "student": paired("teacher", "teacher", 5, 1),
        "onnx": paired("student", "student", 0, 0),
        "engine": paired("student", "onnx", 0, 0),
    },
    latency=Latency(
        first_inference=FirstInference(
            n=6,
            p50_ms=21.5,
            times_ms=(20.0, 25.0, 22.0, 21.0, 20.5, 30.0),
            import_ms=300.0,
            cached_p50_ms=8.5,
            cached_times_ms=(8.0, 9.0, 8.5, 8.2, 8.5, 9.5),
        ),
        threads=1,
        device="cpu",
        processes=1,
        conditions=Conditions(
            seconds=2.0,
            load_average=0.5,
            other_cores=0.1,
            stolen_cores=0.0,
            throttled=None,
            clock_mhz=(None, None),
            cores=2,
        ),
        batches=(
            BatchLatency(
                batch=1,
                teacher=latency(0.5, 0.49, 0.51),
                teacher_engine=latency(0.2, 0.19, 0.21),
                engine=latency(0.1, 0.09, 0.11),
                speedup=ratio(5.0, 4.6, 5.4),
                speedup_same_backend=ratio(2.0, 1.9, 2.1),
                warmup=WarmUp(seconds=0.5, is_steady=True),
            ),
        ),
    ),
    engine=MANIFEST,
    engine_bytes=1000,
    memory=Memory(engine_resident_bytes=5000, process_peak_bytes=10_000),
)
"""What a validate stage measured, with every default gate passed."""

ON_THE_BANK = changed(
    changed(MEASURED, "set", kind="bank"),
    accuracy={},
    agreement={},
    paired={},
    bank_agreement=MEASURED.agreement,
)
"""The same without labelled images."""

USED = RealImages(learned=80, held_back=20, weight=0.5, id="3" * 64)
"""Real images that a distillation used."""

ON_UNLABELLED = changed(
    MEASURED,
    images_agreement={
        "student": Agreement(hits=18, n=20, value=0.9),
        "engine": Agreement(hits=17, n=20, value=0.85),
    },
)
"""The same with an agreement on unlabelled images."""

NOT_RUN = changed(
    MEASURED, latency=None, accuracy={}, agreement={}, paired={}, engine_absent="built for sm89"
)
"""Of an engine that was built for GPUs that are not here."""

SAMPLES = Samples(
    dataset=DatasetPart(kind="held-out", n=2, id="4" * 64),
    labels=(0, 1),
    predictions={"student": (0, 1), "engine": (0, 1)},
    latency=LatencySamples(
        processes=1,
        batches={
            "1": BatchSamples(
                teacher_ms=tuple(0.5 + 0.01 * (number % 7) for number in range(40)),
                teacher_engine_ms=tuple(0.2 + 0.01 * (number % 5) for number in range(40)),
                engine_ms=tuple(0.1 + 0.01 * (number % 3) for number in range(40)),
            )
        },
    ),
)
