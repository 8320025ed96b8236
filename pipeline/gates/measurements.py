"""What validate stores and all else reads, as one tree of records; `measurement_files` reads them.

Names are those of the JSON, where a field whose default is None is absent instead of null.
Fractions are 0 to 1, times are seconds unless the name says `_ms`. Light: no numpy.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from pipeline.gates.build_records import Count, EngineManifest, Sha256, Share

SCHEMA = "madpipe.measurements/2"
"""What a document of measurements calls itself; another one is not read."""

CALIBRATION_BINS = 15
"""Of equal width, into which confidences are sorted."""

QuantileTable = dict[str, float]
"""Quantiles of a resampled statistic by their levels, `{"0.05": value, ...}`, behind its gate."""


class DatasetPart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The images that the networks were compared on."""

    kind: Literal["held-out", "bank"]
    n: Count
    id: Sha256
    """Over labels and some of the images."""
    classes: tuple[str, ...] | None = None
    """Names of the classes; not in the raw samples."""


class CalibrationBin(Struct, frozen=True, kw_only=True):
    """One filled bin of confidences: their mean, and the share of predictions that are right."""

    n: Count
    confidence: Share
    accuracy: Share


class CalibrationError(Struct, frozen=True, kw_only=True):
    """Expected calibration error over 15 bins of equal width; empty bins are left out."""

    error: Share
    mean_confidence: Share
    n: Count
    bins: tuple[CalibrationBin, ...]
    quantiles: QuantileTable


class ClassRecall(Struct, frozen=True, kw_only=True):
    """How many images of a class a network gets right."""

    class_name: str = field(name="class")
    hits: Count
    n: Count


class Accuracy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One network on the labelled images."""

    top1: Share
    hits: Count
    n: Count
    top5: Share | None = None
    """None with 5 classes or fewer, where top-5 means nothing."""
    top5_hits: Count | None = None
    calibration: CalibrationError
    recall: tuple[ClassRecall, ...]


class Agreement(Struct, frozen=True, kw_only=True):
    """On how many images a network predicts the class that the teacher predicts."""

    hits: Count
    n: Count
    value: Share


class ClassLoss(Struct, frozen=True, kw_only=True):
    """What one class lost and gained in a step of the chain."""

    class_name: str = field(name="class")
    lost: Count
    gained: Count
    n: Count


class StepChange(Struct, frozen=True, kw_only=True):
    """What a network changed against the one right before it in the chain."""

    reference: str
    lost: Count
    gained: Count
    n: Count
    changed: Count
    """Images whose predicted class differs, right or wrong."""
    worst: tuple[ClassLoss, ...]
    """The classes that lost the largest shares, the worst first."""


class PairedDrop(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Images that only the reference, or only this network, gets right."""

    reference: str
    lost: Count
    gained: Count
    n: Count
    top5_lost: Count | None = None
    top5_gained: Count | None = None
    step: StepChange


class Drift(Struct, frozen=True, kw_only=True):
    """Median of the last third of the samples over that of the first."""

    ratio: float
    interval: tuple[float, float]


class PercentileNeeds(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For each percentile that its sample cannot support, the least sample that would."""

    p90_ms: Count | None = None
    p99_ms: Count | None = None


class LatencyQuantiles(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds of the median and of each percentile that its sample supports."""

    p50_ms: QuantileTable
    p90_ms: QuantileTable | None = None
    p99_ms: QuantileTable | None = None


class LatencyRecord(Struct, frozen=True, kw_only=True):
    """Latency of one network at one batch size. A percentile beyond its sample is None."""

    batch: Count
    n: Count
    p50_ms: float
    processes: Count
    spread: float
    """Relative standard deviation between processes, assumed where one process measured."""
    p90_ms: float | None
    p99_ms: float | None
    needs: PercentileNeeds
    mean_ms: float
    coefficient_of_variation: float
    drift: Drift | None
    """None for short samples."""
    causes: tuple[str, ...]
    """What may have made it noisy; empty where it is steady."""
    quantiles: LatencyQuantiles


class RatioRecord(Struct, frozen=True, kw_only=True):
    """Median of paired ratios of two latencies, with its interval."""

    median: float
    interval: tuple[float, float]
    confidence: Share
    pairs: Count
    processes: Count
    spread: float
    quantiles: QuantileTable


class WarmUp(Struct, frozen=True, kw_only=True):
    """How the calls before the measured ones went."""

    seconds: float
    is_steady: bool


class BatchLatency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All networks at one batch size, measured in turns; speed-ups are those of the engine."""

    batch: Count
    teacher: LatencyRecord
    """In torch."""
    teacher_engine: LatencyRecord | None = None
    """The teacher as an fp32 engine of the same backend."""
    engine: LatencyRecord
    speedup: RatioRecord
    speedup_same_backend: RatioRecord | None = None
    """Over the teacher's engine."""
    warmup: WarmUp


class Conditions(Struct, frozen=True, kw_only=True):
    """What else the machine did while latency was measured; None: it cannot be read."""

    seconds: float
    load_average: float | None
    other_cores: float | None
    """Cores that other processes kept busy."""
    stolen_cores: float | None
    throttled: Count | None
    clock_mhz: tuple[float | None, float | None]
    """Mean clock before and after."""
    cores: Count


class FirstInference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Time to the first inference of the engine, each in a process in which nothing is warm.

    From before its file is opened to the logits of one image; the runtime was imported before.
    """

    n: Count
    """Processes."""
    p50_ms: float
    times_ms: tuple[float, ...]
    import_ms: float
    """What importing the runtime took before, once."""
    cached_p50_ms: float | None = None
    """The same with the kernels that the runtime kept of a process before; None: it keeps none."""
    cached_times_ms: tuple[float, ...] = ()


class Latency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Latencies at all batch sizes, and how they were measured."""

    threads: Count
    device: str
    processes: Count
    conditions: Conditions
    teacher_engine_absent: str | None = None
    """Why the teacher was not measured as an engine too."""
    first_inference: FirstInference | None = None
    """None where `validate.first_runs` is 0."""
    batches: tuple[BatchLatency, ...]

    @property
    def headline(self) -> BatchLatency:
        """Return the latencies at batch size 1, or at the first size where 1 was not measured."""
        return next((batch for batch in self.batches if batch.batch == 1), self.batches[0])


class Memory(Struct, frozen=True, kw_only=True):
    """Memory in bytes; None where the system does not report it, or nothing was loaded.

    The engine's is what the process grew by; None too where it did not, which says nothing.
    """

    engine_resident_bytes: Count | None
    process_peak_bytes: Count | None


class Measurements(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag=SCHEMA
):
    """What validate measured. Mappings are by network: teacher, student, onnx, graph, engine."""

    dataset: DatasetPart = field(name="set")
    accuracy: Mapping[str, Accuracy]
    """Empty where there are no labelled images."""
    agreement: Mapping[str, Agreement]
    paired: Mapping[str, PairedDrop]
    bank_agreement: Mapping[str, Agreement]
    """Agreement on synthetic images, measured where there are no labelled ones."""
    images_agreement: Mapping[str, Agreement] = {}
    """Agreement on unlabelled images that the student did not learn from, where there are any."""
    latency: Latency | None
    """None where the engine cannot run here."""
    engine: EngineManifest
    engine_bytes: Count
    memory: Memory
    engine_absent: str | None = None
    """Why the engine did not run here."""
    graph_absent: str | None = None
    """Why the graph of an engine for another machine did not run here."""


class BatchSamples(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Milliseconds of each call at one batch size, in the order in which they were made."""

    teacher_ms: tuple[float, ...]
    teacher_engine_ms: tuple[float, ...] | None = None
    engine_ms: tuple[float, ...]


class LatencySamples(Struct, frozen=True, kw_only=True):
    """The raw latencies, by batch size."""

    unit: Literal["ms"] = "ms"
    processes: Count
    batches: Mapping[str, BatchSamples]


class Samples(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag=SCHEMA
):
    """The raw numbers behind the measurements."""

    dataset: DatasetPart = field(name="set")
    predictions: Mapping[str, tuple[int, ...]] = field(name="said")
    """The class that each network predicts for each image."""
    labels: tuple[int, ...] | None = None
    """None for synthetic images."""
    latency: LatencySamples | None = None
    """None where the engine cannot run here."""
