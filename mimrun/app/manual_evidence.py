"""Evidence of manual steps: from what a person types or brings to values of the types that the step asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

from mimrun.app.attachments import Attachment
from mimrun.errors import InputError
from mimrun.run.record.manual_state import ManualState
from mimrun.runbook.model import EvidenceType
from mimrun.runbook.node import PlannedManual


def read_evidence(
    node: PlannedManual,
    state: ManualState,
    text: Mapping[str, str],
    files: Mapping[str, Attachment],
    *,
    failed: bool,
) -> dict[str, JsonValue]:
    """Give the evidence with its types; what cannot be done needs none, and what is given must still be right.

    Arguments:
        text: by name, as it is typed.
        files: by name, as they were read.
        failed: the step cannot be done.

    Raises:
        InputError: evidence is missing, unknown or of the wrong type, or items are not ticked; all of it is named.
    """
    wrong = [
        f"unknown evidence {name!r}; asked for: {', '.join(node.evidence) or 'none'}"
        for name in {**text, **files}
        if name not in node.evidence
    ]
    typed: dict[str, JsonValue] = {}
    for name, wanted in node.evidence.items():
        try:
            value = _one(name, wanted.type, text.get(name, "").strip(), files.get(name))
        except ValueError as exc:
            wrong.append(f"evidence {name!r}: {exc}")
            continue
        if value is not None:
            typed[name] = value
        elif wanted.required and not failed:
            how = f"--file {name}=PATH" if wanted.type is EvidenceType.FILE else f"--evidence {name}=..."
            wrong.append(f"evidence {name!r} ({wanted.type}) is missing; give it with {how}")
    if not failed:
        left = state.unticked
        wrong += [f"item {n} is not ticked: {state.checklist[n - 1]}" for n in left]
    if wrong:
        raise InputError("\n".join(wrong))
    return typed


def _one(name: str, kind: EvidenceType, text: str, file: Attachment | None) -> JsonValue:
    if kind is EvidenceType.FILE:
        if text:
            raise ValueError(f"it is a file; give it with --file {name}=PATH")
        return None if file is None else file.body().model_dump(mode="json")
    if file is not None:
        raise ValueError(f"it is a {kind}, not a file; give it with --evidence {name}=...")
    return _value(kind, text) if text else None


def _value(kind: EvidenceType, text: str) -> JsonValue:
    match kind:
        case EvidenceType.NUMBER:
            if not re.fullmatch(r"-?[0-9]{1,15}", text):
                raise ValueError(f"{text!r} is not a whole number of at most 15 digits")
            return int(text)
        case EvidenceType.BOOLEAN:
            if text not in ("true", "false"):
                raise ValueError(f"{text!r} is not true or false")
            return text == "true"
        case EvidenceType.URL:
            if not text.startswith(("https://", "http://")) or any(c.isspace() for c in text):
                raise ValueError(f"{text!r} is not an http or https address")
            return text
        case EvidenceType.TEXT | EvidenceType.FILE:
            return text
