"""EPContext models: ONNX files whose nodes hold what an execution provider compiled.

Such a node may name a file beside the model in place of holding its bytes, and whatever it holds is
native code or data of one provider: a file from elsewhere may name any path. So engines have them
embedded, and nothing is loaded that names a file.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeline.stage import StageError

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

_OPERATOR = "EPContext"
_REMEDY = "give the ONNX file that it was compiled from"


class Context(NamedTuple):
    """An EPContext node."""

    name: str
    provider: str
    """The execution provider that made it, as ONNX Runtime calls it; empty where it says none."""
    sdk_version: str
    is_embedded: bool
    file: str
    """What it names in place of holding it, empty where it is embedded."""


def contexts(model: "ModelProto") -> Iterator[Context]:
    """Yield the EPContext nodes of a model, those of inner graphs and functions too."""
    for node in _nodes(model):
        if node.op_type != _OPERATOR:
            continue
        values = {attr.name: attr.s or attr.i for attr in node.attribute}
        # It is what a file without the attribute means; a second one of the name hides nothing.
        is_embedded = all(attr.i for attr in node.attribute if attr.name == "embed_mode")
        yield Context(
            name=node.name,
            provider=_text(values.get("source")),
            sdk_version=_text(values.get("ep_sdk_version")),
            is_embedded=is_embedded,
            file="" if is_embedded else _text(values.get("ep_cache_context")),
        )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _nodes(model: "ModelProto") -> Iterator["NodeProto"]:
    pending: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while pending:
        for node in pending.pop().node:
            yield node
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)


def refuse(model: "ModelProto", place: str) -> None:
    """Make sure that a model holds a graph to build from, and nothing compiled.

    Raises:
        StageError: It has EPContext nodes.
    """
    for context in contexts(model):
        by = context.provider or "an execution provider that it does not name"
        names = f", in the file {context.file}" if context.file else ""
        raise StageError(place, f"is compiled already, by {by} ({context.name}{names})", _REMEDY)


def check(content: bytes, provider: str | None) -> tuple[Context, ...]:
    """Return the EPContext nodes of an engine, which are all embedded and of one provider.

    Args:
        content: The bytes of the engine's file.
        provider: The execution provider of which it may have some; None: it may have none.

    Raises:
        StageError: It has some where it may have none, or none where it should, names a file, or
            is of another provider.
    """
    compiled = tuple(contexts(_parsed(content))) if _OPERATOR.encode() in content else ()
    if provider is not None and not compiled:
        faults = [f"is not compiled, though its manifest says so ({provider})"]
    else:
        faults = [fault for context in compiled if (fault := _fault(context, provider))]
    if faults:
        raise StageError("the engine", faults[0], "build it again")
    return compiled


def _parsed(content: bytes) -> "ModelProto":
    import onnx  # noqa: PLC0415  (opening an engine seldom needs it)

    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's decode error has no public name
        raise StageError(
            "the engine", "is no ONNX file, or a part of one", "build it again"
        ) from error


def _fault(context: Context, provider: str | None) -> str:
    if provider is None:
        return f"is compiled, and its manifest does not say so ({context.provider})"
    if not context.is_embedded:
        return f"names a file in place of holding what was compiled ({context.file})"
    if context.provider != provider:
        return f"is compiled for another execution provider ({context.provider}, not {provider})"
    return ""
