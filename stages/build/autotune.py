"""`precision = "auto"`: the candidates built, compared with fp32 on the bank, and measured.

The fastest whose classes differ from the fp32 ONNX file on at most `build.max_disagreement` of
the images is taken. An int8 graph that differs more is tried again with its most sensitive layers
in float. No label is seen here: that is what validate's gates are for.

Shape legend: N images, C channel, H W space, K classes.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pipeline.errors import StageError, UnavailableError
from pipeline.gates import build_records
from pipeline.gates.build_records import CandidateVerdict, EngineManifest, SensitiveLayer
from stages.build import needs
from stages.build.agreement import compare
from stages.engines import selection, timing
from stages.engines.base import BACKENDS, BuildRequest, OnProgress, Session, no_progress
from stages.engines.open_engine import build_engine
from stages.engines.ort import OrtSession
from stages.engines.selection import Candidate
from stages.image_bank import Images
from stages.networks.predict import predict
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import PrecisionConverter
from stages.onnxgraph.layers import layer_nodes

_BUDGET_S = 1.5
_WARMUP_S = 0.2
_MIN_REPETITIONS, _MAX_REPETITIONS = 5, 300
GRAPH_FILE = "graph.onnx"
"""Beside an engine: the graph that it was built from."""

Train = Callable[[ModelProto, ModelProto], ModelProto | None]
"""Given a quantized graph and the fp32 one, returns the first with trained weights, or None."""
Disagreement = Callable[[frozenset[str]], float]
"""The share of images whose class changes when these layers are in float and all others not."""


@dataclass(slots=True, kw_only=True)
class AutotuneResult:
    """One candidate and what became of it."""

    backend: str
    precision: str
    device: str
    float_layers: tuple[str, ...] = ()
    reduced_layers: int = 0
    full_range_layers: int = 0
    equalised_pairs: int = 0
    is_trained: bool = False
    engine: Path
    session: Session | None = None
    disagreement: float | None = None
    """Share of the images that get another class than in fp32."""
    logit_difference: float | None = None
    """As a share of the spread; see `agreement.relative_difference`."""
    classes_seen: int = 0
    """Classes that the images of the comparison get in fp32."""
    p50_ms: float | None = None
    build_s: float | None = None
    reached: dict[str, int] = field(default_factory=dict)
    manifest: EngineManifest | None = None
    """None until it is built."""
    verdict: CandidateVerdict = "unavailable"
    reason: str = ""

    @property
    def bytes(self) -> int | None:
        """Size of the engine, None until it is built."""
        return self.engine.stat().st_size if self.engine.is_file() else None

    def record(self) -> build_records.Candidate:
        """Return what is stored and the report shows."""
        return msgspec.convert(self, build_records.Candidate, from_attributes=True)

    def build(
        self,
        converter: PrecisionConverter,
        more_float: tuple[str, ...] = (),
        *,
        train: Train | None = None,
        cache: Path | None,
        on_progress: OnProgress = no_progress,
    ) -> None:
        """Convert the model and build its engine; graph and manifest stay beside it.

        An int8 or int4 graph goes through `train`, where there is such.

        Errors are those of `Backend.build`, and StageError where the model does not convert.
        """
        converted = converter.convert(self.precision, BACKENDS[self.backend], more_float)
        self.float_layers = converted.float_layers
        self.reduced_layers = converted.reduced_layers
        self.full_range_layers = converted.full_range_layers
        self.equalised_pairs = converted.equalised_pairs
        graph, model = self.engine.with_name(GRAPH_FILE), converted.model
        if train and self.precision in selection.TRAINED and not converter.is_quantized:
            trained = train(model, converter.source())
            self.is_trained = trained is not None
            model = trained or model
        onnx_io.save(model, graph)
        request = BuildRequest(
            onnx=graph,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            options=converter.options,
            cache=cache,
            on_progress=on_progress,
        )
        self.manifest = build_engine(self.backend, request)

    def compare(self, logits_NK: NDArray[np.float32], reference_NK: NDArray[np.float32]) -> None:
        """Note how the engine's logits compare with those of the fp32 model."""
        agreement = compare(logits_NK, reference_NK)
        self.disagreement = agreement.disagreement
        self.logit_difference = agreement.logit_difference

    def open(self, threads: int) -> Session:
        """Load the engine, and note the arithmetic that its runtime reports where it does.

        Errors are those of `Backend.open`.
        """
        backend = selection.backend(self.backend)
        self.session = backend.open(self.engine, device=self.device, threads=threads)
        if reached := getattr(self.session, "reached", None):
            self.reached = reached()
        return self.session


@dataclass
class Autotuner:
    """Builds and compares candidates of one model on one device."""

    converter: PrecisionConverter
    images_NCHW: Images
    _: KW_ONLY
    device: str
    folder: Path
    threads: int
    cache: Path | None = None
    train: Train | None = None
    """What trains int8 graphs; None: they are rounded."""
    on_progress: OnProgress = no_progress
    results: list[AutotuneResult] = field(default_factory=list, init=False)
    sensitive_layers: list[SensitiveLayer] = field(default_factory=list, init=False)
    repetitions: int = field(default=0, init=False)
    reference_s: float = field(default=0.0, init=False)
    """What the reference took for all images."""

    def __post_init__(self) -> None:
        """Run the reference: the fp32 model in ONNX Runtime on the CPU."""
        begin_s = time.perf_counter()
        self._reference_NK = self._graph_logits(
            self.converter.model, self.images_NCHW, self.on_progress
        )
        self.reference_s = time.perf_counter() - begin_s

    def run(self, candidates: Sequence[Candidate]) -> None:
        """Build the candidates, mix float layers into int8 graphs that miss, and measure all."""
        is_always_trained = self.converter.options.int8 == "trained"
        for number, candidate in enumerate(candidates):
            self.on_progress(number, len(candidates) + 1, "candidates")
            self._evaluate(candidate, (), is_trained=is_always_trained)
        self.on_progress(len(candidates), len(candidates) + 1, "candidates")
        if self.train is not None and not is_always_trained:
            for result in self._missed():
                candidate = Candidate(result.backend, result.precision)
                self._evaluate(candidate, (), is_trained=True)
        self._mix_precisions()
        running = [result for result in self.results if result.session is not None]
        # All that run, also those that miss, at batch 1.
        x_1CHW = np.ascontiguousarray(self.images_NCHW[:1])
        calls = [result.session.prepared(x_1CHW) for result in running if result.session]
        if calls:
            timing.interleaved(calls, budget_s=_WARMUP_S)
            times_ms = timing.interleaved(
                calls, _MAX_REPETITIONS, budget_s=_BUDGET_S, fewest=_MIN_REPETITIONS
            )
            self.repetitions = len(times_ms)
            for result, p50_ms in zip(running, np.median(times_ms, axis=0), strict=True):
                result.p50_ms = float(p50_ms)
        self.on_progress(len(candidates) + 1, len(candidates) + 1, "candidates")

    def choose(self) -> AutotuneResult | None:
        """Return the fastest admissible candidate and mark it, None where none is."""
        admissible = [result for result in self.results if result.verdict == "admissible"]
        if not admissible:
            return None
        best = min(admissible, key=lambda r: r.p50_ms if r.p50_ms is not None else np.inf)
        best.verdict, best.reason = "chosen", "the fastest that agrees"
        return best

    def _missed(self) -> list[AutotuneResult]:
        """Return the int8 candidates that miss, of backends without one that does not."""
        able = {r.backend for r in self.results if r.verdict == "admissible" and r.is_trained}
        return [
            result
            for result in self.results
            if result.verdict == "missed"
            and result.precision == "int8"
            and result.backend not in able
        ]

    def _evaluate(
        self, candidate: Candidate, more_float: tuple[str, ...], *, is_trained: bool = False
    ) -> None:
        """Build a candidate, open it and compare its classes with the reference."""
        kind = "mixed" if more_float else "trained" if is_trained else "plain"
        folder = self.folder / f"{self.device}-{candidate.backend}-{candidate.precision}-{kind}"
        folder.mkdir()
        result = AutotuneResult(**candidate._asdict(), device=self.device, engine=folder / "engine")
        self.results.append(result)
        begin_s = time.perf_counter()
        try:
            train = self.train if is_trained else None
            result.build(
                self.converter,
                more_float,
                train=train,
                cache=self.cache,
                on_progress=self.on_progress,
            )
            result.build_s = round(time.perf_counter() - begin_s, 3)
            if is_trained and not result.is_trained and self.converter.options.int8 == "auto":
                # It cannot be trained, so it is the rounded one over again.
                self.results.remove(result)
                return
            session = result.open(self.threads)
            result.compare(
                logits(session.infer, self.images_NCHW, self.on_progress), self._reference_NK
            )
        except UnavailableError as error:
            result.reason = str(error)
            return
        except StageError as error:
            result.verdict, result.reason = "failed", str(error)
            return
        assert result.disagreement is not None
        limit = self.converter.options.max_disagreement
        is_admissible = result.disagreement <= limit
        result.verdict = "admissible" if is_admissible else "missed"
        result.reason = (
            f"{result.disagreement:.4f} of {len(self.images_NCHW)} images get another class than "
            f"in fp32, {'at most' if is_admissible else 'more than'} {limit:g}"
        )

    def _mix_precisions(self) -> None:
        """Return the sensitive layers of int8 graphs that miss to float and try them again."""
        images_NCHW = self.images_NCHW[: needs.BISECTION_IMAGES]
        # A backend that has missed twice, rounded and trained, is mixed once.
        missed = list({result.backend: result for result in self._missed()}.values())
        float_layers: dict[str, tuple[str, ...]] = {}
        layers = [node.name for node in layer_nodes(self.converter.model)]
        most_trials = needs.most_trials(len(layers), self.converter.options.bisect_layers)
        most_trials *= len({BACKENDS[result.backend].scheme for result in missed})
        trials = itertools.count(1)
        for result in missed if self.converter.options.bisect_layers else ():
            scheme = BACKENDS[result.backend].scheme

            def disagreement(in_float: frozenset[str], backend: str = result.backend) -> float:
                model = self.converter.convert("int8", BACKENDS[backend], sorted(in_float)).model
                logits_NK = self._graph_logits(model, images_NCHW)
                self.on_progress(next(trials), most_trials, "graphs tried")
                return compare(logits_NK, self._reference_NK[: len(images_NCHW)]).disagreement

            if scheme not in float_layers:
                sensitive = sensitive_layers(
                    layers,
                    disagreement,
                    limit=self.converter.options.max_disagreement,
                    max_layers=self.converter.options.bisect_layers,
                )
                self.sensitive_layers += sensitive
                float_layers[scheme] = tuple(layer.layer for layer in sensitive)
            self._evaluate(Candidate(result.backend, result.precision), float_layers[scheme])

    def _graph_logits(
        self, model: ModelProto, images_NCHW: Images, on_progress: OnProgress = no_progress
    ) -> NDArray[np.float32]:
        session = OrtSession(model.SerializeToString(), threads=self.threads)
        return logits(session.infer, images_NCHW, on_progress)


def sensitive_layers(
    layers: Sequence[str], disagreement: Disagreement, *, limit: float, max_layers: int
) -> tuple[SensitiveLayer, ...]:
    """Return the layers to keep in float, the most sensitive first.

    A group is halved, each half tried in float beside the layers already found, and the half that
    leaves the smaller disagreement is halved again, down to one layer: about 2 log2 of their number
    trials for each. It ends when the disagreement is at most `limit` or at `max_layers` layers.
    """
    sensitive: list[SensitiveLayer] = []
    while len(sensitive) < min(max_layers, len(layers)):
        fixed = frozenset(entry.layer for entry in sensitive)
        group = [layer for layer in layers if layer not in fixed]
        while len(group) > 1:
            halves = group[: len(group) // 2], group[len(group) // 2 :]
            remaining = [disagreement(fixed | frozenset(half)) for half in halves]
            group = halves[0] if remaining[0] <= remaining[1] else halves[1]
        remaining_share = disagreement(fixed | {group[0]})
        sensitive.append(SensitiveLayer(layer=group[0], disagreement=remaining_share))
        if remaining_share <= limit:
            break
    return tuple(sensitive)


def logits(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images_NCHW: Images,
    on_progress: OnProgress = no_progress,
) -> NDArray[np.float32]:
    """Return the logits, of shape NK, that an engine gives all images."""
    return predict(
        infer,
        images_NCHW,
        on_progress=lambda done, total: on_progress(done, total, "images compared"),
    )
