"""The loader: from the bytes of a file to a runbook, or to everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import ValidationError

from mimrun import canonical
from mimrun.canonical import Json
from mimrun.errors import Problem, RunbookError
from mimrun.runbook.document import Document, ValuePath, read_bytes, read_document
from mimrun.runbook.model import Runbook
from mimrun.runbook.salvage import salvage
from mimrun.runbook.sugar import Desugarer, action_key, step_source
from mimrun.runbook.wording import problems_of, source_path

SCHEMA: Final = "mimrun/1"


@dataclass(frozen=True, slots=True)
class LoadedRunbook:
    """A runbook, and the file that it was read from.

    Arguments:
        runbook: what the author wrote.
        digest: `sha256:<hex>` over the bytes of the file.
        source: those bytes.
        document: the plain content, and the place of every value.
    """

    runbook: Runbook
    digest: str
    source: bytes
    document: Document

    @property
    def file(self) -> str:
        """The path as the person gave it."""
        return self.document.file

    def problem(self, path: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Make the complaint about a value of the file."""
        return self.document.problem(path, message, hint, at_key=at_key)

    def step_path(self, step: str, *inner: str | int) -> ValuePath:
        """Give the place of a part of a step: `step_path("3.block.1", "when")`."""
        return (*step_source(step), *inner)

    def call_path(self, step: str, keyword: str = "") -> ValuePath:
        """Give the place of a step's action, or of the action under its verify, undo or capture."""
        base = self.step_path(step, keyword) if keyword else self.step_path(step)
        value: Json = self.document.value
        for part in base:
            value = value[part]  # type: ignore[index]  # the loader walked here already
        if isinstance(value, Mapping) and isinstance(value.get("wait"), Mapping):
            base, value = (*base, "wait"), value["wait"]
        return (*base, action_key(value))


Check: TypeAlias = Callable[[LoadedRunbook, frozenset[str]], Iterable[Problem]]
"""Finds what else is wrong with the sound part of a runbook that is not sound; see `salvage`."""


def load_runbook(path: Path, also: Check | None = None) -> LoadedRunbook:
    """Read a runbook from disk; see `parse_runbook`.

    Raises:
        RunbookError: with every problem that was found, each with file, line and column.
    """
    return parse_runbook(read_bytes(path), str(path), also)


def parse_runbook(
    source: bytes | str, file: str = "runbook.yaml", also: Check | None = None
) -> LoadedRunbook:
    """Read a runbook from its text.

    Arguments:
        source: the content of the file.
        file: the path as the person gave it, for messages.
        also: asked about the sound steps of a runbook that is wrong elsewhere, so that all is said at once.

    Raises:
        RunbookError: with every problem that was found, each with file, line and column.
    """
    data = source if isinstance(source, bytes) else source.encode()
    document = read_document(data, file)
    raw = _whole(document)
    desugarer = Desugarer(document)
    shaped = dict(raw)
    if "steps" in raw:
        shaped["steps"] = desugarer.steps(raw["steps"], ("steps",))
    if "handlers" in raw:
        shaped["handlers"] = desugarer.handlers(raw["handlers"], ("handlers",))
    problems, faults = desugarer.problems, desugarer.faults
    try:
        # As JSON, because there strictness means what an author expects: no text becomes a number.
        runbook = Runbook.model_validate_json(json.dumps(shaped), strict=True)
    except ValidationError as exc:
        problems += problems_of(exc, document, (), Runbook)
        faults += [source_path(detail["loc"], document) for detail in exc.errors(include_url=False)]
    if problems:
        rest = salvage(document, shaped, faults) if also is not None else None
        if also is not None and rest is not None:
            runbook, lost = rest
            problems += also(LoadedRunbook(runbook, canonical.digest_bytes(data), data, document), lost)
        raise RunbookError(problems=set(problems))
    return LoadedRunbook(runbook, canonical.digest_bytes(data), data, document)


def _whole(document: Document) -> Mapping[str, Json]:
    """Give the document as a mapping that says it is a runbook."""
    match document.value:
        case dict() as whole if "schema" in whole or "steps" in whole:
            return whole
        case None:
            raise RunbookError(
                problems=[Problem(document.file, 0, 0, "is empty", f"begin with `schema: {SCHEMA}`")]
            )
        case list():
            hint = "a runbook is one mapping of keys, not a list of plays"
        case dict():
            hint = f"begin with `schema: {SCHEMA}` and list the `steps:`"
        case _:
            hint = f"begin with `schema: {SCHEMA}`"
    raise RunbookError(problems=[document.problem((), "is not a runbook", hint)])
