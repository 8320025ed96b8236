"""The calls into TensorRT that make an engine; only ever run in a child process.

Type checkers see `tensorrt`; at run time it is the edition's module, which has the same names.
Where only one edition has a call, its own module is named.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsInt, cast

from pipeline.settings import TensorRT
from pipeline.stage import StageError
from stages.engines.tensorrt.edition import RTX, Edition
from stages.engines.tensorrt.fraction import Fraction
from stages.engines.tensorrt.messages import Request

if TYPE_CHECKING:
    import tensorrt as trt
    import tensorrt_rtx

Tell = Callable[[int], bool]
_MIB = 1 << 20


def build(
    request: Request, edition: Edition, onnx: bytes, timings: bytes, tell: Tell
) -> tuple[bytes, bytes]:
    """Return the serialised engine of an ONNX file, and what to keep for later builds.

    Args:
        request: What to build.
        edition: By which edition.
        onnx: The bytes of a sound ONNX file.
        timings: A timing cache that was kept, or nothing.
        tell: Called with percents; returns whether to go on.

    Raises:
        StageError: The parser or the builder refuses the graph.
    """
    if not TYPE_CHECKING:
        trt = edition.module()
    errors: list[str] = []
    log = logger(edition, errors)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx):
        raise _parse_error(parser, edition)
    config = builder.create_builder_config()
    _configure(config, request.settings, edition)
    config.add_optimization_profile(_profile(builder, network, request.settings, edition))
    if edition is RTX:
        its_config = cast("tensorrt_rtx.IBuilderConfig", config)
        _aim(its_config, request.targets or ("current",), edition)
    # In TensorRT-RTX a timing cache does nothing and its calls are deprecated.
    keeps_timings = request.settings.timing_cache and edition is not RTX
    if keeps_timings:
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    config.progress_monitor = _monitor(edition, tell)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise refusal("cannot build an engine of it", errors, edition)
    kept = bytes(memoryview(config.get_timing_cache().serialize())) if keeps_timings else b""
    return bytes(memoryview(plan)), kept


def inspected(plan: bytes, edition: Edition) -> str:
    """Load an engine once, on the GPU that it is for, and return what its inspector tells as JSON.

    Raises:
        StageError: It cannot be loaded.
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
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                errors.append(" ".join(msg.split()))

    return Log()


def refusal(what: str, errors: list[str], edition: Edition) -> StageError:
    """Return the error for something that TensorRT refused, with the first reason that it gave."""
    because = errors[0] if errors else "it gives no reason"
    return StageError(
        "build",
        f"{edition.title} {what} ({because})",
        "change the setting or layer that it names, or use backend onnxruntime",
    )


def _parse_error(parser: "trt.OnnxParser", edition: Edition) -> StageError:
    if not parser.num_errors:
        return refusal("cannot read the ONNX file", [], edition)
    error = parser.get_error(0)
    node = f"{error.node_operator()} at node {error.node_name() or error.node()}"
    where = node if error.node_operator() else "the graph"
    return StageError(
        "the ONNX file",
        f"holds what {edition.title} does not take ({where}: {' '.join(error.desc().split())})",
        "replace the layer, or use backend onnxruntime",
    )


def _configure(config: "trt.IBuilderConfig", asked: TensorRT, edition: Edition) -> None:
    if not TYPE_CHECKING:
        trt = edition.module()
    config.builder_optimization_level = asked.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if asked.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, asked.workspace_mib * _MIB)
    if not asked.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if asked.weights == "refittable":
        config.set_flag(trt.BuilderFlag.REFIT)
    elif asked.weights == "stripped":
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if asked.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if asked.hardware_compatibility == "ampere-plus":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif asked.hardware_compatibility == "same-compute-capability":
        same = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
        config.hardware_compatibility_level = same


def _profile(
    builder: "trt.Builder",
    network: "trt.INetworkDefinition",
    asked: TensorRT,
    edition: Edition,
) -> "trt.IOptimizationProfile":
    """Return the range of batches; the input's other sizes are fixed."""
    if not TYPE_CHECKING:
        trt = edition.module()
    images = network.get_input(0)
    size = sizes(images.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(
        images.name,
        trt.Dims([asked.min_batch, *size]),
        trt.Dims([asked.opt_batch, *size]),
        trt.Dims([asked.max_batch, *size]),
    )
    return profile


def sizes(dims: "trt.Dims") -> list[int]:
    """Return dimensions as numbers."""
    return [int(dims[number]) for number in range(len(dims))]


def _aim(config: "tensorrt_rtx.IBuilderConfig", targets: tuple[str, ...], edition: Edition) -> None:
    """Build for named architectures, which need not be here; one engine serves all of them."""
    if not TYPE_CHECKING:
        tensorrt_rtx = edition.module()
    known = tensorrt_rtx.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for number, target in enumerate(targets):
        name = target.upper()
        if name not in known or not config.set_compute_capability(known[name], number):
            raise StageError(
                "build.targets",
                f"{edition.title} cannot build for it ({target})",
                f"name some of {', '.join(each.lower() for each in known)}",
            )


def _monitor(edition: Edition, tell: Tell) -> "trt.IProgressMonitor":
    if not TYPE_CHECKING:
        trt = edition.module()
    fraction = Fraction()

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(
            self, phase_name: str, parent_phase: str | None, num_steps: SupportsInt
        ) -> None:
            fraction.start(phase_name, parent_phase, int(num_steps))

        def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
            fraction.step(phase_name, int(step))
            return tell(fraction.percent())

        def phase_finish(self, phase_name: str) -> None:
            fraction.finish(phase_name)

    return Monitor()
