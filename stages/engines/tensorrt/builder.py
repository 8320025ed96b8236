"""The calls into TensorRT that make an engine; only ever run in a child process.

Type checkers see `tensorrt`; at run time it is the edition's module, which has the same names.
Where only one edition has a call, its own module is named.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsInt, cast

import msgspec

from pipeline.settings import TensorRT
from pipeline.stage import StageError
from stages.engines.tensorrt.edition import EDITIONS, RTX, Edition

if TYPE_CHECKING:
    import tensorrt as trt
    import tensorrt_rtx

OnPercent = Callable[[int], bool]
"""Called with whole percents of the build; returns whether to go on."""

_MIB = 1 << 20


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that the child process gets."""

    backend: str
    onnx: str
    engine: str
    precision: str
    targets: tuple[str, ...]
    """Architectures to build for; empty: the GPU that is here."""
    settings: TensorRT
    timing_cache: str | None
    """A file that is read before and written after the build; None: keep nothing."""


def build(
    onnx: bytes, request: WorkerRequest, timings: bytes, on_percent: OnPercent
) -> tuple[bytes, bytes]:
    """Return the serialised engine of an ONNX file, and the timing cache for later builds.

    `timings` is a timing cache that was kept, or empty.

    Raises:
        StageError: The parser or the builder refuses the graph.
    """
    edition, settings = EDITIONS[request.backend], request.settings
    if not TYPE_CHECKING:
        trt = edition.module()
    errors: list[str] = []
    log = logger(edition, errors)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx):
        if not parser.num_errors:
            raise refusal("cannot read the ONNX file", [], edition)
        error = parser.get_error(0)
        node = f"{error.node_operator()} at node {error.node_name() or error.node()}"
        where = node if error.node_operator() else "the graph"
        because = " ".join(error.desc().split())
        raise StageError(
            "the ONNX file",
            f"holds what {edition.title} does not take ({where}: {because})",
            "replace the layer, or use backend onnxruntime",
        )
    config = builder.create_builder_config()
    _configure(config, settings, edition)
    images = network.get_input(0)
    shape_CHW = sizes(images.shape)[1:]
    profile = builder.create_optimization_profile()
    batches = (settings.min_batch, settings.opt_batch, settings.max_batch)
    profile.set_shape(images.name, *(trt.Dims([batch, *shape_CHW]) for batch in batches))
    config.add_optimization_profile(profile)
    if edition is RTX:
        rtx_config = cast("tensorrt_rtx.IBuilderConfig", config)
        _set_compute_capabilities(rtx_config, request.targets or ("current",), edition)
    # In TensorRT-RTX a timing cache does nothing and its calls are deprecated.
    keeps_timings = settings.timing_cache and edition is not RTX
    if keeps_timings:
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    config.progress_monitor = _monitor(edition, on_percent)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise refusal("cannot build an engine of it", errors, edition)
    timings = bytes(memoryview(config.get_timing_cache().serialize())) if keeps_timings else b""
    return bytes(memoryview(plan)), timings


def inspect(plan: bytes, edition: Edition) -> str:
    """Load an engine once, on its GPU, and return its inspector's report as JSON.

    StageError where it cannot be loaded.
    """
    if not TYPE_CHECKING:
        trt = edition.module()
    errors: list[str] = []
    runtime = trt.Runtime(logger(edition, errors))
    runtime.engine_host_code_allowed = True  # built a moment ago, in this process
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise refusal("cannot load the engine that it built", errors, edition)
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def logger(edition: Edition, errors: list[str]) -> "trt.ILogger":
    """Return a logger that keeps what is wrong and drops the rest."""
    if not TYPE_CHECKING:
        trt = edition.module()

    class Log(trt.ILogger):
        def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                errors.append(" ".join(msg.split()))

    return Log()


def refusal(fault: str, errors: list[str], edition: Edition) -> StageError:
    """Return the error for something that TensorRT refused, with its first message."""
    because = errors[0] if errors else "it gives no reason"
    return StageError(
        "build",
        f"{edition.title} {fault} ({because})",
        "change the setting or layer that it names, or use backend onnxruntime",
    )


def _configure(config: "trt.IBuilderConfig", settings: TensorRT, edition: Edition) -> None:
    if not TYPE_CHECKING:
        trt = edition.module()
    config.builder_optimization_level = settings.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * _MIB)
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.weights == "refittable":
        config.set_flag(trt.BuilderFlag.REFIT)
    elif settings.weights == "stripped":
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatibility != "none":
        name = settings.hardware_compatibility.replace("-", "_").upper()
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.__members__[name]


def sizes(dims: "trt.Dims") -> list[int]:
    """Return dimensions as numbers."""
    return [int(dims[number]) for number in range(len(dims))]


def _set_compute_capabilities(
    config: "tensorrt_rtx.IBuilderConfig", targets: tuple[str, ...], edition: Edition
) -> None:
    """Build for named architectures, which need not be here; one engine serves all of them."""
    if not TYPE_CHECKING:
        tensorrt_rtx = edition.module()
    known = tensorrt_rtx.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for number, target in enumerate(targets):
        capability = known.get(target.upper())
        if capability is None or not config.set_compute_capability(capability, number):
            raise StageError(
                "build.targets",
                f"{edition.title} cannot build for it ({target})",
                f"name some of {', '.join(name.lower() for name in known)}",
            )


class BuildProgress:
    """How much of a build is done, from TensorRT's phases, which begin and end within others.

    The percent never falls. The methods have TensorRT's names; its monitor inherits them.
    """

    def __init__(self, on_percent: OnPercent) -> None:
        """Begin at nothing."""
        self._on_percent = on_percent
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._parents: dict[str, str | None] = {}
        self._percent = 0

    def phase_start(
        self, phase_name: str, parent_phase: str | None, num_steps: SupportsInt
    ) -> None:
        """Note that a phase of so many steps began, within another or by itself."""
        self._steps[phase_name] = max(1, int(num_steps))
        self._done[phase_name] = 0
        self._parents[phase_name] = parent_phase

    def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
        """Note that a step, counted from 0, is done, and report; return whether to go on."""
        if phase_name in self._done:
            self._done[phase_name] = max(self._done[phase_name], int(step) + 1)
        return self._on_percent(self.percent())

    def phase_finish(self, phase_name: str) -> None:
        """Note that a phase ended; its parent reports that by a step of its own."""
        for table in (self._steps, self._done, self._parents):
            table.pop(phase_name, None)

    def percent(self) -> int:
        """Return whole percents; phases beside one another share their parent's step."""
        self._percent = max(self._percent, min(99, int(100 * self._largest_fraction(None))))
        return self._percent

    def _largest_fraction(self, parent: str | None) -> float:
        """Return the largest share, 0 to 1, that is done of any phase within a parent."""
        fractions = [
            (self._done[name] + self._largest_fraction(name)) / self._steps[name]
            for name, outer in self._parents.items()
            if outer == parent
        ]
        return min(1.0, max(fractions, default=0.0))


def _monitor(edition: Edition, on_percent: OnPercent) -> "trt.IProgressMonitor":
    if not TYPE_CHECKING:
        trt = edition.module()

    class Monitor(BuildProgress, trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            BuildProgress.__init__(self, on_percent)

    return Monitor()
