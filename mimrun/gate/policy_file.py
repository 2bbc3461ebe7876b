"""The policy file: read strictly, with every problem at its line and column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.errors import Problem, SettingsError
from mimrun.gate.policy import PRIORITIES, Cell, Matrix, Policy, Row
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

_OWN: Final = frozenset({"file", "lines"})
"""What a policy knows and no file says."""
_TOP: Final = tuple(name for name in Policy.model_fields if name not in _OWN)
_RISKS: Final = tuple(Matrix.model_fields)
_COLUMNS: Final = (*PRIORITIES, "undeclared", "other", "freeze")
_FREEZE_ONLY: Final = ("freeze_override", "refused")
_AGREES: Final = frozenset({"approve", "approved", "auto_approve", "auto", "open", "allow", "accept", "pass"})
"""Words for what a policy has no word for."""
_NONE: Final = "none"
"""How a cell is written that asks for nothing."""


def load_policy(path: Path) -> Policy | None:
    """Read the policy file; None where there is none, so that only the gates which runbooks write count.

    Raises:
        SettingsError: it is not a policy; every problem is named with its place.
    """
    if not path.exists() and not path.is_symlink():
        return None
    return parse_policy(load_document(path, error=SettingsError))


def parse_policy(document: Document) -> Policy:
    """Make the policy of a document.

    Raises:
        SettingsError: as for `load_policy`.
    """
    return _Reader(document).policy()


class _Reader:
    """Reads a policy, and collects everything that is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def policy(self) -> Policy:
        top = self.document.value
        if not isinstance(top, dict):
            hint = f"allowed here: {', '.join(_TOP)}; `mimrun policy init` writes a whole one"
            raise SettingsError(problems=[self.document.problem((), "is not a policy", hint)])
        shaped: dict[str, Json] = {}
        for key, value in top.items():
            if key not in _TOP:
                self._wrong((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
            elif key == "matrix":
                shaped[key] = self._matrix(value)
            else:
                self.lines[key] = self.document.key_mark((key,))[0]
                self._check_time_out((key,), value if key == "on_timeout" else None)
                shaped[key] = value
        policy = self._made(shaped)
        if policy is None:
            raise SettingsError(problems=set(self.problems))
        return policy.model_copy(update={"file": self.document.file, "lines": self.lines})

    def _made(self, shaped: Mapping[str, Json]) -> Policy | None:
        """Give the policy; None where something is wrong."""
        found: Policy | None = None
        try:
            # As JSON, because there strictness means what a person expects: no text becomes a number.
            found = Policy.model_validate_json(json.dumps(shaped), strict=True)
        except ValidationError as exc:
            told = {(p.line, p.column) for p in self.problems}
            more = problems_of(exc, self.document, (), Policy)
            self.problems += [p for p in more if (p.line, p.column) not in told]
        else:
            self.problems += [self._placed(*each) for each in _doubtful(found, self.lines)]
        return None if self.problems else found

    def _matrix(self, value: Json) -> Json:
        """Shape the matrix as the model has it: rows that are not written are mimrun's own."""
        if not isinstance(value, dict):
            self._wrong(("matrix",), "must be a mapping", f"write a row for each of {', '.join(_RISKS)}")
            return {}
        shaped: dict[str, Json] = {}
        for risk, row in value.items():
            where = ("matrix", risk)
            if risk == "read_only":
                self._read_only(row)
            elif risk not in _RISKS:
                self._wrong(where, f"there is no risk {risk!r}", suggest(risk, _RISKS), at_key=True)
            else:
                shaped[risk] = self._row(where, row)
        return shaped

    def _read_only(self, row: Json) -> None:
        if row not in (_NONE, {}):
            hint = "write `read_only: none`, or leave it out; who may launch what is a matter of roles"
            self._wrong(
                ("matrix", "read_only"), "what only reads asks for nothing, and cannot be made to", hint
            )

    def _row(self, where: ValuePath, row: Json) -> Json:
        if not isinstance(row, dict):
            self._wrong(where, "a row is a mapping", f"allowed here: {', '.join(_COLUMNS)}")
            return {}
        standing = getattr(Matrix(), str(where[-1]))
        shaped: dict[str, Json] = {}
        for column, cell in row.items():
            if column not in _COLUMNS:
                place = (*where, column)
                self._wrong(place, f"there is no column {column!r}", suggest(column, _COLUMNS), at_key=True)
                continue
            self.lines[".".join(map(str, (*where, column)))] = self.document.key_mark((*where, column))[0]
            shaped[column] = self._cell((*where, column), cell)
        if "other" not in row and not {*PRIORITIES, "undeclared"} <= row.keys():
            hint = "it holds for every priority that has no column, and where none was declared"
            self._wrong(where, "the column 'other' is missing", hint, at_key=True)
        shaped.setdefault("other", standing.other.model_dump(mode="json", exclude_none=True))
        shaped.setdefault("freeze", standing.freeze.model_dump(mode="json", exclude_none=True))
        return shaped

    def _cell(self, where: ValuePath, cell: Json) -> Json:
        if cell == _NONE:
            return {}
        if not isinstance(cell, dict):
            hint = f"write `none`, or a mapping with some of {', '.join(Cell.model_fields)}"
            self._wrong(where, "is no cell of the matrix", hint)
            return {}
        self._check_time_out((*where, "on_timeout"), cell.get("on_timeout"))
        for key in _FREEZE_ONLY:
            if key in cell and where[-1] != "freeze":
                self._wrong((*where, key), f"{key} belongs in the row's `freeze`", at_key=True)
        if not cell:
            self._wrong(where, "is empty", "write `none` where nothing is asked for")
        if cell.get("refused") == "":
            self._wrong((*where, "refused"), "must not be empty", "say why: people will read it")
        return cell

    def _check_time_out(self, where: ValuePath, value: Json) -> None:
        if isinstance(value, str) and value.lower() in _AGREES:
            hint = "allowed here: escalate, fail, undo"
            self._wrong(where, f"{value!r}: nothing is ever approved by waiting", hint)

    def _placed(self, where: ValuePath, message: str, hint: str) -> Problem:
        return self.document.problem(where, message, hint)

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))


def _doubtful(policy: Policy, lines: Mapping[str, int]) -> Iterator[tuple[ValuePath, str, str]]:
    """Give what is well written and cannot be meant: where, what, and what would be right."""
    if not {"requester", "launcher"} <= policy.excluded:
        hint = "only `author` may be left out: whoever asks for something does not allow it"
        yield ("excluded",), "requester and launcher never count", hint
    for risk in _RISKS:
        row: Row = getattr(policy.matrix, risk)
        for column, cell in row.cells():
            where: ValuePath = ("matrix", risk, column)
            if f"matrix.{risk}.{column}" not in lines:
                continue
            roles = [need.role for need in cell.approvals]
            for role in sorted({role for role in roles if roles.count(role) > 1}):
                yield (*where, "approvals"), f"role {role!r} is here twice", "write one entry with a `count`"
            if cell.pre_authorised and cell.asks_nothing:
                yield where, "asks for nothing, so nothing can be enough instead", "leave pre_authorised out"
            if cell.pre_authorised and column == "freeze":
                yield where, "no standard change stands in for a freeze", "leave pre_authorised out"
