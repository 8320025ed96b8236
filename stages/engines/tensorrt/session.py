"""A TensorRT engine ready to run, on torch's CUDA tensors and a stream of its own.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import machine, stored_files
from pipeline.errors import UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.stage import StageError
from stages.engines import compatibility
from stages.engines.base import MANIFEST_FILE, to_model_input
from stages.engines.tensorrt import validity
from stages.engines.tensorrt.builder import logger, sizes
from stages.engines.tensorrt.edition import RTX, Edition
from stages.engines.tensorrt.kernels import Kernels
from stages.engines.tensorrt.runtime_cache import CacheFile, cache_file
from stages.networks.predict import predict

if TYPE_CHECKING:
    import tensorrt as trt  # (mypy's name for what __init__ gets from the edition)
    import tensorrt_rtx


class TrtSession:
    """An engine, its context and a stream."""

    notes: Sequence[str]

    def __init__(self, engine: Path, edition: Edition, cache: Path | None = None) -> None:
        """Load an engine whose manifest, beside it, fits this machine.

        TensorRT-RTX takes the kernels that it compiled in an earlier process from the folder
        `cache`, and leaves there what it compiles in this one; None: it keeps none.

        Raises:
            StageError: It has no manifest, is damaged, or was made for another machine.
            UnavailableError: No GPU is here, or the edition does not load.
        """
        manifest = _manifest(engine, edition)
        if not torch.cuda.is_available():
            raise UnavailableError(
                "build.device",
                "torch sees no NVIDIA GPU (torch.cuda.is_available() is False)",
                "load the engine where the GPU is, or see madpipe doctor",
            )
        if not TYPE_CHECKING:
            trt = edition.module()
        self._errors: list[str] = []
        self._logger = logger(edition, self._errors)
        self._runtime = trt.Runtime(self._logger)
        # A version-compatible engine carries a runtime of its own: native code from the file.
        if manifest.settings.get("version_compatible"):
            self._runtime.engine_host_code_allowed = True
        plan = engine.read_bytes()
        self.notes = []
        if edition is RTX:
            rtx_runtime = cast("tensorrt_rtx.Runtime", self._runtime)
            if note := validity.check(rtx_runtime, plan, manifest, self._errors):
                self.notes.append(note)
        loaded = self._runtime.deserialize_cuda_engine(plan)
        if loaded is None:
            raise self._failure(f"cannot load the engine {engine}")
        self._engine = loaded
        self._kernels: Kernels | None = None
        if edition is RTX and cache is not None:
            rtx_engine = cast("tensorrt_rtx.ICudaEngine", loaded)
            self._kernels = Kernels(rtx_engine, _cache_file(cache, manifest), self.notes)
            config = cast("trt.IRuntimeConfig", self._kernels.config)
            self._context = loaded.create_execution_context(config)
        else:
            self._context = loaded.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        names = [loaded.get_tensor_name(number) for number in range(loaded.num_io_tensors)]
        self._input, self._output = names
        if loaded.get_tensor_mode(self._input) != trt.TensorIOMode.INPUT:
            self._input, self._output = self._output, self._input
        dtypes = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.BF16: torch.bfloat16,
            trt.DataType.UINT8: torch.uint8,
        }
        self._input_dtype = dtypes[loaded.get_tensor_dtype(self._input)]
        self._output_dtype = dtypes[loaded.get_tensor_dtype(self._output)]
        self._max_batch = loaded.get_tensor_profile_shape(self._input, 0)[2][0]
        self._uses_graph = bool(manifest.settings.get("cuda_graph"))

    def infer(self, x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of shape BK for images in [0, 1], in as many calls as the batch needs."""

        def infer_part(part_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
            return self._run(part_BCHW)[1].float().cpu().numpy()

        return predict(infer_part, x_BCHW, batch_size=self._max_batch)

    def prepared(self, x_BCHW: NDArray[np.float32]) -> Callable[[], object]:
        """Return a call that runs these images, already on the GPU, until their result is there.

        With the setting cuda_graph the call replays a captured graph.
        """
        images, logits = self._run(x_BCHW)
        if self._kernels is not None:
            self._kernels.keep()
        graph = torch.cuda.CUDAGraph() if self._uses_graph else None
        if graph is not None:
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue()

        def call() -> torch.Tensor:
            if graph is not None:
                with torch.cuda.stream(self._stream):
                    graph.replay()
            else:
                # Another call may have bound its own tensors to the context since.
                self._set(images, logits)
                self._enqueue()
            self._stream.synchronize()
            return logits

        return call

    def _run(self, x_BCHW: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run images to the end; return them and their logits, which stay bound to the context."""
        if self._kernels is not None:
            self._kernels.keep()
        x = to_model_input(x_BCHW, is_bytes=self._input_dtype == torch.uint8)
        with torch.cuda.stream(self._stream):
            images = torch.from_numpy(x).to("cuda", self._input_dtype).contiguous()
        if not self._context.set_input_shape(self._input, tuple(images.shape)):
            raise self._failure(f"does not take images of shape {tuple(images.shape)}")
        shape = tuple(sizes(self._context.get_tensor_shape(self._output)))
        with torch.cuda.stream(self._stream):
            logits = torch.empty(shape, dtype=self._output_dtype, device="cuda")
        self._set(images, logits)
        self._enqueue()
        self._stream.synchronize()
        return images, logits

    def _set(self, images: torch.Tensor, logits: torch.Tensor) -> None:
        self._context.set_input_shape(self._input, tuple(images.shape))
        self._context.set_tensor_address(self._input, images.data_ptr())
        self._context.set_tensor_address(self._output, logits.data_ptr())

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise self._failure("cannot run the engine")

    def _failure(self, what: str) -> StageError:
        because = self._errors[-1] if self._errors else "TensorRT gives no reason"
        return StageError("the engine", f"{what} ({because})", "build it again")


def _cache_file(folder: Path, manifest: EngineManifest) -> CacheFile:
    gpu = machine.gpus()[0]
    return cache_file(
        folder,
        sha256=manifest.sha256,
        version=manifest.backend_version,
        gpu=(gpu.name, gpu.compute_capability),
    )


def _manifest(engine: Path, edition: Edition) -> EngineManifest:
    """Return the manifest beside an engine, once it fits this edition and machine."""
    path = engine.with_name(MANIFEST_FILE)
    try:
        manifest = stored_files.decode(stored_files.read_bytes(path), EngineManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise StageError(
            "the engine", f"has no sound manifest beside it ({path}: {error})", "build it again"
        ) from error
    if manifest.backend != edition.backend:
        raise StageError(
            "the engine",
            f"is of another edition of TensorRT ({manifest.backend}, not {edition.backend})",
            compatibility.rebuild_command(manifest),
        )
    compatibility.check(manifest)
    if manifest.settings.get("weights") == "stripped":
        raise StageError(
            "the engine",
            'holds no weights (build.tensorrt.weights = "stripped")',
            "refit it in the program that deploys it, or build it with weights kept",
        )
    return manifest
