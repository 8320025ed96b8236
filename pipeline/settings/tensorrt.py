"""The table [build.tensorrt]: what shapes an engine of TensorRT or TensorRT-RTX."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Table

HardwareName = Literal["none", "same-compute-capability", "ampere-plus"]
WeightsName = Literal["kept", "refittable", "stripped"]


class TensorRT(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For backends tensorrt and tensorrt-rtx. Networks are always strongly typed."""

    min_batch: Annotated[Count, Meta(description="smallest batch that the engine takes")] = 1
    opt_batch: Annotated[Count, Meta(description="batch that it is optimised for")] = 32
    max_batch: Annotated[Count, Meta(description="largest batch that it takes")] = 256
    optimization_level: Annotated[
        int, Meta(ge=0, le=5, description="how long the builder searches; TensorRT's own is 3")
    ] = 3
    workspace_mib: (
        Annotated[int, Meta(ge=1, description="most scratch memory; absent: TensorRT's own limit")]
        | None
    ) = None
    tf32: Annotated[
        bool, Meta(description="let fp32 convolutions use TF32, which has 10 bits of mantissa")
    ] = True
    timing_cache: Annotated[
        bool, Meta(description="keep measured kernels for later builds; tensorrt only")
    ] = True
    hardware_compatibility: Annotated[
        HardwareName, Meta(description="other GPUs that may load the engine; tensorrt only")
    ] = "none"
    version_compatible: Annotated[
        bool, Meta(description="newer TensorRT may load the engine; tensorrt only")
    ] = False
    weights: Annotated[
        WeightsName,
        Meta(description="whether they can be replaced, or are left out, to be refitted"),
    ] = "kept"
    cuda_graph: Annotated[
        bool, Meta(description="replay a captured CUDA graph instead of launching kernels")
    ] = False
