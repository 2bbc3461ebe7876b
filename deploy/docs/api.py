"""The page of the API: every operation, what it is given and what it gives, as the OpenAPI description has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI

from mimrun.web.api.description import describe
from mimrun.web.api.routers import ROUTERS

_WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "number": "number",
    "null": "null",
}


def api_parts() -> Iterator[str]:
    """Give the parts of the page, a noun each."""
    app = FastAPI()
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    described = describe(app)
    schemas = described["components"]["schemas"]
    for tag in described["tags"]:
        parts = [f"## {tag['name'].capitalize()}\n\n{tag['description']}"]
        for path, operations in described["paths"].items():
            parts += [
                _operation(method, path, one)
                for method, one in operations.items()
                if tag["name"] in one["tags"]
            ]
        yield "\n\n".join(parts)
    yield "\n\n".join(
        ["## What is given and what comes back", *(_schema(name, schemas) for name in sorted(schemas))]
    )


def _operation(method: str, path: str, one: Mapping[str, Any]) -> str:
    about = " ".join(one["description"].partition("\n\nNeeds the scope")[0].split())
    lines = [
        f"### {method.upper()} {path}",
        f"{about} Scope: `{one['x-scope']}`, as `mimrun {one['x-verb']}`.",
    ]
    given = [
        f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {_cell(p.get('description') or p['schema'].get('description', ''))} |"
        for p in one.get("parameters", ())
        if p["in"] != "path"
    ]
    if given:
        lines.append("| Parameter | In | Type | Meaning |\n|---|---|---|---|\n" + "\n".join(given))
    body = one.get("requestBody")
    sends = f"Sends {_named(body['content']['application/json']['schema'])}. " if body else ""
    code, good = next((code, said) for code, said in one["responses"].items() if code.startswith("2"))
    lines.append(f"{sends}Gives {code}: {_named(good['content']['application/json']['schema'])}.")
    return "\n\n".join(lines)


def _schema(name: str, schemas: Mapping[str, Any]) -> str:
    schema = schemas[name]
    needed = set(schema.get("required", ()))
    rows = [
        f"| `{field}`{'' if field in needed else ', optional'} | {_type(spec)} | {_cell(spec.get('description', ''))} |"
        for field, spec in schema.get("properties", {}).items()
    ]
    about = _cell(schema.get("description", "").partition("\n\n")[0])
    table = "| Field | Type | Meaning |\n|---|---|---|\n" + "\n".join(rows) if rows else "No fields."
    return f"### {_title(name)}\n\n{about}\n\n{table}"


def _title(name: str) -> str:
    """Give the name of a schema as a heading: `Page_Run_` is a page of runs."""
    found = re.fullmatch(r"Page_(.+?)_*", name)
    return (
        f"Page of {found[1].replace('Union_', '').replace('__', ' or ').replace('_', ' or ')}"
        if found
        else name
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", _title(name).lower()).replace(" ", "-")


def _named(schema: Mapping[str, Any]) -> str:
    """Give a type, as a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{_title(name)}](#{_anchor(name)})"
    if schema.get("type") == "array":
        return f"list of {_named(schema['items'])}"
    return _type(schema)


def _type(spec: Mapping[str, Any]) -> str:
    match spec:
        case {"$ref": _}:
            return _named(spec)
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"anyOf": list(choices)}:
            return " or ".join(_type(choice) for choice in choices)
        case {"type": "array", **rest}:
            return f"list of {_type(rest.get('items', {}))}"
        case {"type": "object", **rest}:
            values = rest.get("additionalProperties")
            return f"mapping to {_type(values)}" if isinstance(values, dict) and values else "mapping"
        case {"type": "string", "format": "date-time"}:
            return "moment"
        case _:
            return _WORDS[spec["type"]] if "type" in spec else "anything"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|")
