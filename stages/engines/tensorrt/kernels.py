"""The runtime cache of a TensorRT-RTX engine: loaded with it, and kept when it has grown."""

from typing import TYPE_CHECKING

from stages.engines.tensorrt.runtime_cache import CacheFile

if TYPE_CHECKING:
    import tensorrt_rtx


class Kernels:
    """What an execution context compiles, in a configuration that the context is made with."""

    def __init__(
        self, engine: "tensorrt_rtx.ICudaEngine", file: CacheFile, notes: list[str]
    ) -> None:
        """Take the kernels of an earlier process where they fit; `notes` gets what was wrong.

        A cache that the runtime refuses is left aside, and written anew.
        """
        self._file, self._notes = file, notes
        self.config = engine.create_runtime_config()
        self._cache = self.config.create_runtime_cache()
        kernels, note = file.read()
        if kernels and not self._cache.deserialize(kernels):
            note = f"TensorRT-RTX does not take its runtime cache, left aside ({file.path})"
            self._cache.reset()
            kernels = b""
        if note:
            notes.append(note)
        self._kept = kernels
        self.config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write the kernels where there are others than in the file.

        It is called before an inference, so that the first one of a process is not made slower.
        """
        serialised = self._cache.serialize()
        kernels = bytes(memoryview(serialised)) if serialised is not None else b""
        if kernels and kernels != self._kept:
            self._kept = kernels
            if note := self._file.write(kernels):
                self._notes.append(note)
