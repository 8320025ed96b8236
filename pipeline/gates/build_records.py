"""What build stores, as records: the manifest of an engine and the candidates that it tried.

Field names are those of the JSON. Light: no numpy.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pipeline.gates.real_images import RealImages
from pipeline.preprocessing import Preprocessing

SCHEMA = "madpipe.candidates/1"
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
"""A fraction from 0 to 1."""
Sha256 = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]


class Signature(Struct, frozen=True, kw_only=True):
    """Inputs and outputs of an engine."""

    input: str
    """Name of its input, images."""
    input_type: str
    """As ONNX calls it: FLOAT, FLOAT16, BFLOAT16 or UINT8."""
    shape: tuple[int, int, int]
    """Channels, height and width."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the dimensions of its input, and so of `shape` in it."""
    value_range: tuple[int, int] = (0, 1)
    """Of black and white; the engine normalises images itself."""
    output: str
    output_type: str
    num_classes: Count
    arch: str = ""
    """Empty where the ONNX file does not name it."""
    classes: tuple[str, ...] = ()


class EpContext(Struct, frozen=True, kw_only=True):
    """The execution provider of ONNX Runtime that compiled an engine, which no other one loads."""

    provider: str
    """As ONNX Runtime calls it."""
    version: str
    """Of the package that holds it."""
    sdk_version: str = ""
    """Of what it compiled with, where the file names it."""


class EngineManifest(Struct, frozen=True, kw_only=True):
    """What an engine is and where it may be loaded; lies beside it as manifest.json."""

    backend: str
    backend_version: str
    device: str
    precision: str
    engine: str
    """Name of the engine's file."""
    sha256: Sha256
    onnx_sha256: Sha256
    """Of the ONNX file that the engine was built from."""
    targets: tuple[str, ...] = ()
    """GPU architectures that it was built for ahead of time; empty: the machine that built it."""
    gpu: str = ""
    """Name of the GPU that it was built on and for."""
    compute_capability: str = ""
    driver: str = ""
    settings: Mapping[str, int | bool | str | None] = {}
    """The settings that shape it, by their names in pipeline.toml."""
    weights_bytes: Mapping[str, int] = {}
    """Bytes of the graph's weights by their ONNX type, which a strongly typed engine keeps."""
    signature: Signature | None = None
    """None in manifests of older versions."""
    preprocessing: Preprocessing | None = None
    """How images become its input; None in manifests of older versions."""
    real_images: RealImages | None = None
    """The real images that its distillation used; None where nobody recorded that."""
    layer_types: Mapping[str, int] = {}
    """Tensors that the finished engine makes, by their type, as its inspector reports."""
    layers: str = ""
    """What the inspector reports of each layer, as JSON; empty where nothing was loaded."""
    reached: dict[str, int] = {}
    """Arithmetic that the runtime reports -> layers in it; empty where it reports none."""
    float_layers: tuple[str, ...] = ()
    """Layers that stayed in fp32."""
    reduced_layers: Count = 0
    """Layers whose int8 weights have 7 bits, where products of 8 overflow on the processor."""
    full_range_layers: Count = 0
    """Depthwise layers beside those, whose weights keep 8 bits."""
    equalised_pairs: Count = 0
    """Pairs of layers whose channels were brought to one range before rounding."""
    is_trained: bool = False
    """Whether int8 or int4 weights were trained on, and so are not those of the ONNX file."""
    ep_context: EpContext | None = None
    """None where the engine is no compiled EPContext."""
    onnx_changes: tuple[str, ...] = ()
    """What was changed in the ONNX file before anything was built from it."""


CandidateVerdict = Literal["chosen", "admissible", "missed", "failed", "unavailable"]
"""missed: it differs from fp32 on too many images."""


class SensitiveLayer(Struct, frozen=True, kw_only=True):
    """A layer that was returned to float, and the disagreement that remained then."""

    layer: str
    disagreement: Share


class Candidate(Struct, frozen=True, kw_only=True):
    """A backend and precision that build tried. What was not measured is None."""

    backend: str
    precision: str
    float_layers: tuple[str, ...]
    reduced_layers: Count = 0
    """Layers whose int8 weights have 7 bits."""
    full_range_layers: Count = 0
    """Depthwise layers beside those, whose weights keep 8 bits."""
    is_trained: bool = False
    """Whether int8 weights were trained on after rounding."""
    disagreement: Share | None
    """Share of the images that get another class than in fp32."""
    logit_difference: float | None = None
    """Largest difference of a logit from fp32, as a share of the logits' spread."""
    p50_ms: float | None
    bytes: Count | None
    build_s: float | None
    verdict: CandidateVerdict
    reason: str

    @property
    def arithmetic(self) -> str:
        """Its precision, and what else was done to its weights, as reports show it."""
        kept = "" if not self.full_range_layers else f", {self.full_range_layers} depthwise 8"
        return (
            self.precision
            + (", trained" if self.is_trained else "")
            + (f", {len(self.float_layers)} layers fp32" if self.float_layers else "")
            + (f", weights of 7 bits{kept}" if self.reduced_layers else "")
        )


class Candidates(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag=SCHEMA
):
    """All that build tried. The fields that may be None are there where it had a choice."""

    max_disagreement: Share
    images: Count
    candidates: tuple[Candidate, ...]
    device: str | None = None
    rounds: int | None = None
    """Repetitions of the timing."""
    threads: int | None = None
    costly_layers: tuple[SensitiveLayer, ...] | None = None
