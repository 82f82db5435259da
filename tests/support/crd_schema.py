"""The status schema of the chart's CustomResourceDefinition, as the API server holds a status to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRD = Path(__file__).resolve().parents[2] / "charts/lockgate/crds/databasemigrations.lockgate.dev.yaml"
TYPES = {"string": str, "integer": int, "array": list, "object": dict, "boolean": bool}


@cache
def status_schema() -> dict[str, Any]:
    """Return the schema of ``.status``."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]["properties"]["status"]


def objections(value: Any, schema: dict[str, Any], where: str = "status") -> Iterator[str]:
    """Yield what the API server has against a value; server-side apply refuses a field that is not in the schema."""
    if value is None:
        if not schema.get("nullable"):
            yield f"{where}: null"
        return
    if not isinstance(value, TYPES[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {schema['type']}"
        return
    yield from _of_value(value, schema, where)
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from objections(item, schema["items"], f"{where}[{number}]")
    if isinstance(value, dict):
        known = schema["properties"]
        yield from (f"{where}.{name}: unknown" for name in value if name not in known)
        yield from (f"{where}.{name}: missing" for name in schema.get("required", ()) if name not in value)
        for name in value.keys() & known.keys():
            yield from objections(value[name], known[name], f"{where}.{name}")


def _of_value(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not in {schema['enum']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where}: {value} is out of bounds"
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        yield f"{where}: {len(value)} characters"
    if isinstance(value, list) and len(value) > schema.get("maxItems", 10**9):
        yield f"{where}: {len(value)} items"
    if schema.get("format") == "date-time":
        datetime.fromisoformat(value.replace("Z", "+00:00"))
