"""What TensorRT-RTX says of an engine before it is loaded, as errors of ours.

`Runtime.get_engine_validity` reads the engine's head alone, and answers with bits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import MadpipeError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.stage import StageError
from stages.engines.compatibility import rebuild_command
from stages.engines.tensorrt.edition import RTX

if TYPE_CHECKING:
    import tensorrt_rtx


class _Diagnosis(NamedTuple):
    """What is wrong with an engine or with the machine."""

    wrong: str
    remedy: str
    """Empty: to build it again."""
    is_machine: bool = False
    """Whether it is the machine that lacks something."""


_DIAGNOSES = {
    "MALFORMED_ENGINE": _Diagnosis("is damaged, or no engine of TensorRT-RTX", ""),
    "VERSION_MISMATCH": _Diagnosis("was built by another version of TensorRT-RTX", ""),
    "UNSUPPORTED_CC": _Diagnosis("was not built for this GPU", ""),
    "OLD_CUDA_DRIVER": _Diagnosis(
        "needs a newer driver", "install a newer NVIDIA driver", is_machine=True
    ),
    "OLD_CUDA_RUNTIME": _Diagnosis(
        "needs a newer CUDA",
        "pip install --upgrade tensorrt-rtx, or build it again",
        is_machine=True,
    ),
    "INSUFFICIENT_GPU_MEMORY": _Diagnosis(
        "needs more memory than the GPU has free",
        "free some (nvidia-smi shows who holds it), or lower build.tensorrt.max_batch",
        is_machine=True,
    ),
    "CUDA_ERROR": _Diagnosis(
        "cannot be examined, since CUDA fails", "see madpipe doctor", is_machine=True
    ),
}
"""Diagnosis by its name in the bindings, what decides first."""


def check(
    runtime: "tensorrt_rtx.Runtime",
    plan: bytes,
    manifest: EngineManifest,
    messages: Sequence[str],
) -> str:
    """Make sure that an engine may be loaded here; return a note where it could run better.

    `messages` are what the runtime's logger gets of errors.

    Raises:
        StageError: It is damaged, or of another version.
        UnavailableError: The machine lacks what it needs.
    """
    if not TYPE_CHECKING:
        tensorrt_rtx = RTX.module()
    validity, bits = runtime.get_engine_validity(plan)
    because = messages[-1] if messages else ""
    if validity == tensorrt_rtx.EngineValidity.INVALID:
        raise fault(_names(bits), manifest, because)
    if validity == tensorrt_rtx.EngineValidity.SUBOPTIMAL:
        return (
            "TensorRT-RTX runs the engine here, but not as fast as one built for this GPU: "
            f"{rebuild_command(manifest)}"
        )
    return ""


def _names(bits: int) -> list[str]:
    """Return the names of the diagnoses in an answer."""
    if not TYPE_CHECKING:
        tensorrt_rtx = RTX.module()
    members = tensorrt_rtx.EngineInvalidityDiagnostics.__members__
    return [name for name, member in members.items() if bits & int(member)]


def fault(names: Sequence[str], manifest: EngineManifest, because: str) -> MadpipeError:
    """Return the error for diagnoses by their names; `because` is what the runtime logged."""
    known = [_DIAGNOSES[name] for name in _DIAGNOSES if name in names]
    if not known:
        seen = ", ".join(names) or "no diagnosis"
        known = [_Diagnosis("cannot be loaded here", "see madpipe doctor", is_machine=True)]
        because = because or seen
    first = known[0]
    detail = "; ".join(filter(None, (", ".join(names), because)))
    kind = UnavailableError if first.is_machine else StageError
    return kind(
        "the engine", f"{first.wrong} ({detail})", first.remedy or rebuild_command(manifest)
    )
