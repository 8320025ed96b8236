"""`precision = "auto"`: the candidates built, compared with fp32 on the bank, and measured.

The fastest whose classes differ from the fp32 ONNX file on at most `build.max_disagreement` of
the images is taken. No label is seen here: that is what validate's gates are for.

Shape legend: N images, C channel, H W space, K classes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StageError, UnavailableError
from pipeline.settings import Build
from stages.build import bisect
from stages.engines import selection, timing
from stages.engines.base import BACKENDS, BackendInfo, Order, Session, Tell
from stages.engines.selection import Candidate
from stages.networks.predict import predict
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import Maker
from stages.onnxgraph.layers import layers

SCHEMA = "madpipe.candidates/1"
_BUDGET_S = 1.5
_MOST_ROUNDS = 300
_BISECTION_IMAGES = 256


@dataclass(slots=True, kw_only=True)
class AutotuneResult:
    """One candidate and what became of it."""

    backend: str
    precision: str
    float_layers: tuple[str, ...] = ()
    engine: Path
    session: Session | None = None
    disagreement: float | None = None
    p50_ms: float | None = None
    build_s: float | None = None
    reached: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What its backend has for the manifest."""
    verdict: str = "unavailable"
    """chosen, admissible, missed, failed or unavailable."""
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """Return what the report shows."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "float_layers": list(self.float_layers),
            "disagreement": self.disagreement,
            "p50_ms": self.p50_ms,
            "bytes": self.engine.stat().st_size if self.engine.is_file() else None,
            "build_s": self.build_s,
            "verdict": self.verdict,
            "reason": self.reason,
        }


class Autotuner:
    """Builds and compares candidates of one model on one device."""

    def __init__(
        self,
        maker: Maker,
        images_NCHW: NDArray[np.float32],
        options: Build,
        *,
        device: str,
        folder: Path,
        threads: int,
        cache: Path | None = None,
    ) -> None:
        """Run the reference: the fp32 model in ONNX Runtime on the CPU."""
        self._maker = maker
        self._images_NCHW = images_NCHW
        self._options = options
        self._device = device
        self._folder = folder
        self.threads = threads
        self._cache = cache
        reference = onnx_io.session(maker.model.SerializeToString(), threads)
        self._said_N = classes(lambda x: onnx_io.logits(reference, x), images_NCHW)
        self.tried: list[AutotuneResult] = []
        self.costly: list[bisect.Costly] = []
        self.rounds = 0

    def run(self, candidates: Sequence[Candidate], tell: Tell) -> None:
        """Try the candidates, mix float layers into int8 graphs that miss, and measure all."""
        for number, candidate in enumerate(candidates):
            self._try(candidate, ())
            tell(number + 1, len(candidates) + 1, "candidates")
        self._try_mixed()
        self._measure()
        tell(len(candidates) + 1, len(candidates) + 1, "candidates")

    def chosen(self) -> AutotuneResult | None:
        """Return the fastest admissible candidate and mark it, None where none is."""
        fit = [each for each in self.tried if each.verdict == "admissible"]
        if not fit:
            return None
        best = min(fit, key=lambda each: each.p50_ms if each.p50_ms is not None else np.inf)
        best.verdict, best.reason = "chosen", "the fastest that agrees"
        return best

    def _try(self, candidate: Candidate, more_float: tuple[str, ...]) -> None:
        name, precision = candidate
        info = BACKENDS[name]
        stem = f"{name}-{precision}{'-mixed' if more_float else ''}"
        tried = AutotuneResult(
            backend=name, precision=precision, engine=self._folder / f"{stem}.engine"
        )
        self.tried.append(tried)
        begin_s = time.perf_counter()
        try:
            made = self._maker.at(precision, info, more_float)
            tried.float_layers = made.float_layers
            source = self._folder / f"{stem}.onnx"
            onnx_io.save(made.model, source)
            order = Order(
                onnx=source,
                engine=tried.engine,
                device=self._device,
                precision=precision,
                options=self._options,
                cache=self._cache,
            )
            backend = selection.backend(name)
            tried.facts = dict(backend.build(order) or {})
            tried.build_s = round(time.perf_counter() - begin_s, 3)
            tried.session = backend.open(tried.engine, device=self._device, threads=self.threads)
            said_N = classes(tried.session.infer, self._images_NCHW)
        except UnavailableError as error:
            tried.reason = str(error)
            return
        except StageError as error:
            tried.verdict, tried.reason = "failed", str(error)
            return
        tried.reached = reached(tried.session)
        tried.disagreement = float((said_N != self._said_N).mean())
        limit = self._options.max_disagreement
        fits = tried.disagreement <= limit
        tried.verdict = "admissible" if fits else "missed"
        tried.reason = (
            f"{tried.disagreement:.4f} of {len(said_N)} images get another class than in fp32, "
            f"{'at most' if fits else 'more than'} {limit:g}"
        )

    def _try_mixed(self) -> None:
        """Return the costly layers of int8 graphs that miss to float and try them again."""
        missed = [t for t in self.tried if t.verdict == "missed" and t.precision == "int8"]
        mixes: dict[str, tuple[str, ...]] = {}
        for each in missed if self._options.bisect_layers else ():
            info = BACKENDS[each.backend]
            if info.scheme not in mixes:
                mixes[info.scheme] = self._costly(info)
            self._try(Candidate(each.backend, each.precision), mixes[info.scheme])

    def _costly(self, info: BackendInfo) -> tuple[str, ...]:
        images_NCHW = self._images_NCHW[:_BISECTION_IMAGES]

        def disagreement(in_float: frozenset[str]) -> float:
            made = self._maker.at("int8", info, sorted(in_float)).model
            opened = onnx_io.session(made.SerializeToString(), self.threads)
            said_N = classes(lambda x: onnx_io.logits(opened, x), images_NCHW)
            return float((said_N != self._said_N[: len(images_NCHW)]).mean())

        found = bisect.costly_layers(
            [node.name for node in layers(self._maker.model)],
            disagreement,
            limit=self._options.max_disagreement,
            most=self._options.bisect_layers,
        )
        self.costly += found
        return tuple(each.layer for each in found)

    def _measure(self) -> None:
        """Measure all that run, also those that miss, in turns at batch 1."""
        running = [each for each in self.tried if each.session is not None]
        x_1CHW = np.ascontiguousarray(self._images_NCHW[:1])
        calls = [each.session.prepared(x_1CHW) for each in running if each.session is not None]
        if not calls:
            return
        times_ms = timing.in_turns(calls, budget_s=_BUDGET_S, most=_MOST_ROUNDS)
        self.rounds = len(times_ms)
        for each, median in zip(running, np.median(times_ms, axis=0), strict=True):
            each.p50_ms = float(median)


def classes(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]], x_NCHW: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the class, of shape N, that an engine gives each image."""
    classes_N: NDArray[np.int64] = predict(infer, x_NCHW).argmax(axis=1)
    return classes_N


def reached(session: Session) -> dict[str, int]:
    """Return the arithmetic that a session's runtime reports, empty where it tells none."""
    ask = getattr(session, "reached", None)
    return dict(ask()) if callable(ask) else {}
