"""What a process has called of hollow CUDA so far, as counted in common.c."""

import ctypes
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Calls:
    """Numbers of calls of all threads."""

    launches: int
    """Kernels, also those of libraries, outside of a recording."""
    captured_launches: int
    """Kernels that became a part of a CUDA graph."""
    graph_launches: int
    captures: int
    """Recordings of a CUDA graph."""
    synchronisations: int
    pageable_copies: int
    """Copies from or to pageable memory, for which the host waits as well."""
    copies: int
    refused: int
    """Calls that are not allowed while a graph is recorded."""
    collectives: int

    @classmethod
    def read(cls) -> Self:
        """Return the numbers since the process began."""
        library = ctypes.CDLL("libhollow.so")
        library.hollow_kind_name.restype = ctypes.c_char_p
        library.hollow_calls.restype = ctypes.c_long
        counts: dict[str, int] = {}
        while name := library.hollow_kind_name(len(counts)):
            counts[name.decode()] = library.hollow_calls(len(counts))
        return cls(**counts)

    def since(self, before: "Calls") -> Self:
        """Return the numbers of the calls after `before` was read."""
        earlier = asdict(before)
        return type(self)(**{name: count - earlier[name] for name, count in asdict(self).items()})

    @property
    def waits(self) -> int:
        """How often the host waited for the device."""
        return self.synchronisations + self.pageable_copies
