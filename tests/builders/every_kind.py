"""An entry of every kind, made from what each body says of itself, with texts of a test's choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from builders.entries import AT, DIGEST

from mimrun.log.entry import NOTHING, Actor, BlobRef, LogEntry
from mimrun.log.kinds import BODIES, Body, Kind

HOSTILE: Final = (
    "esc \x1b[31mred\x1b[0m osc \x1b]8;;http://x\x07 nul \x00 del \x7f c1 \x9b2J cr \r lf \n crlf \r\n nel \x85"
    " ls \u2028 ps \u2029 bidi \u202egpj.exe\u202c zero\u200bwidth bom \ufeff tag \U000e0041"
    ' "quotes" \\ back ] bracket , comma ; =1+1 <b>'
)
"""What a terminal, a line reader, a spreadsheet or a page could obey. No lone surrogates: bodies escape those."""


def body_of(kind: Kind, text: str = "some text") -> Body:
    """Give a body of a kind, with the text wherever it may have free text."""
    schema = BODIES[kind].model_json_schema()
    fields = {
        name: _sample(spec, schema.get("$defs", {}), text) for name, spec in schema["properties"].items()
    }
    return BODIES[kind].model_validate(fields)


def _sample(spec: Mapping[str, Any], known: Mapping[str, Any], text: str) -> Any:
    if "$ref" in spec:
        return _sample(known[spec["$ref"].rsplit("/", maxsplit=1)[-1]], known, text)
    if "const" in spec:
        return spec["const"]
    if "enum" in spec:
        return spec["enum"][0]
    match spec["type"]:
        case "string":
            return _text(spec, text)
        case "integer":
            return max(int(spec.get("minimum", 0)), 3)
        case "boolean":
            return False
        case "array":
            return [_sample(spec["items"], known, text)]
        case "object":
            return {name: _sample(one, known, text) for name, one in spec["properties"].items()}
    raise AssertionError(f"no sample for {spec}")


def _text(spec: Mapping[str, Any], text: str) -> str:
    pattern = spec.get("pattern", "")
    if "sha256" in pattern:
        return DIGEST
    if "{64}" in pattern:
        return "ab" * 32
    if "{8}" in pattern:
        return "0123abcd"
    if spec.get("title", "").endswith("At"):
        return "2026-11-22T03:00:00.000000Z"
    return text[: spec.get("maxLength", len(text))]


def entry_of(kind: Kind, text: str = "some text", **changes: Any) -> LogEntry:
    """Give an entry of a kind, with the text as target, actor and in the body."""
    body = body_of(kind, text)
    refs = tuple(BlobRef(name, "cd" * 32, 7, "data") for name in sorted(body.blobs))
    entry = LogEntry(
        log="example.org/incidents",
        seq=7,
        ts=AT,
        inc="INC-20261122-7K2Q",
        iseq=3,
        iprev=NOTHING,
        actor=Actor("person", text[:128] or "x", "cli", "os-user"),
        run="run-7k2qd9xm",
        step="3.block.1",
        target=text[:255],
        attempt=1,
        epoch=2,
        body=body,
        blobs=refs,
        prev=NOTHING,
    )
    return replace(entry, **changes)
