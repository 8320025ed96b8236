"""Write docs/report.schema.json, the JSON Schema of the report, from the records that hold it."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from pipeline.report.records import EMPTY_WHERE_ABSENT, LEFT_OUT, Report

PATH = Path(__file__).parent.parent / "docs" / "report.schema.json"
_HEAD = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "madpipe report"}


def report_schema() -> dict[str, Any]:
    """Return the schema: every field that is written, and no other."""
    schema = msgspec.json.schema(Report)
    for record in set(_records(types.type_info(Report))):
        definition = schema["$defs"][record.__name__]
        definition["additionalProperties"] = False
        definition["description"] = inspect.cleandoc(definition["description"])
        fields = definition["properties"]
        if fields.pop(LEFT_OUT, None):
            definition["required"].remove(LEFT_OUT)
        for name, field in fields.items():
            is_optional = "default" in field and record.__struct_config__.omit_defaults
            field.pop("default", None)
            choices = field.get("anyOf", [])
            if is_optional:
                choices = [choice for choice in choices if choice != {"type": "null"}]
            elif name not in definition["required"]:
                definition["required"].append(name)
            if name in EMPTY_WHERE_ABSENT.get(record.__name__, ()):
                empty = {"type": "object", "maxProperties": 0}
                choices = [empty if choice == {"type": "null"} else choice for choice in choices]
            if choices:
                fields[name] = choices[0] if len(choices) == 1 else {"anyOf": choices}
    text = json.dumps(schema)
    for name in list(schema["$defs"]):
        if f'"#/$defs/{name}"' not in text:
            del schema["$defs"][name]
    return _HEAD | schema


def _records(info: types.Type) -> Iterator[type[msgspec.Struct]]:
    """Yield the records that a type holds, itself included."""
    match info:
        case types.StructType():
            yield info.cls
            inner = [field.type for field in info.fields]
        case types.UnionType():
            inner = list(info.types)
        case types.DictType():
            inner = [info.value_type]
        case types.VarTupleType():
            inner = [info.item_type]
        case types.Metadata():
            inner = [info.type]
        case _:
            inner = []
    for part in inner:
        yield from _records(part)


def main() -> None:
    """Write the file."""
    PATH.write_text(json.dumps(report_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
