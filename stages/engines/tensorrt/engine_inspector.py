"""What TensorRT's engine inspector tells of a finished engine, and what precision that proves.

The inspector's text differs between versions, so types are looked for by their names.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.stage import StageError

_TYPES = {
    "fp16": re.compile(r"\b(fp16|half|float16)\b", re.IGNORECASE),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE),
    "int8": re.compile(r"\bint8\b", re.IGNORECASE),
    "fp8": re.compile(r"\bfp8\b", re.IGNORECASE),
    "fp32": re.compile(r"\b(fp32|float|float32)\b", re.IGNORECASE),
}


def layer_types(text: str) -> dict[str, int]:
    """Return how many tensors the layers make of each type; empty where the text tells of none."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    found: Counter[str] = Counter()
    for layer in told.get("Layers", []) if isinstance(told, dict) else []:
        for datatype in _datatypes(layer.get("Outputs", [])) if isinstance(layer, dict) else ():
            for name, pattern in _TYPES.items():
                if pattern.search(datatype):
                    found[name] += 1
                    break
    return dict(sorted(found.items()))


def check_precision(found: dict[str, int], precision: str) -> None:
    """Make sure that an engine computes in the precision asked for, where it tells.

    Raises:
        StageError: It tells of types, and the one asked for is not among them.
    """
    if found and precision not in found:
        shown = ", ".join(f"{name} {count}" for name, count in found.items())
        raise StageError(
            "build.precision",
            f"the finished engine has no {precision} layer (its tensors: {shown})",
            "use another precision, or madpipe doctor",
        )


def _datatypes(outputs: Any) -> Iterator[str]:
    for each in outputs if isinstance(outputs, list) else []:
        if isinstance(each, dict):
            yield from (str(v) for k, v in each.items() if "datatype" in k.lower())
