"""Asking a Freshservice, and writing back to it: facts, never decisions."""

from __future__ import annotations

import html
import re
from typing import Final

from connectors.change.fields import at, words
from connectors.change.freshservice.record import Change, record_of
from connectors.change.freshservice.settings import STATES, FreshserviceSettings
from connectors.change.web import Web
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    ChangeSystem,
    Refused,
    Unreachable,
)
from mimrun.connector import Json

ROWS: Final = 100
NEWEST: Final = 5
"""Pages of the newest changes in which one of ours is looked for: an answer that was lost was lost just now."""
PAGES: Final = 20
"""Pages that are read of one list."""
REF: Final = re.compile(r"(?:CHN-)?([1-9][0-9]{0,17})", re.ASCII)
RISKS: Final = {"low": 1, "medium": 2, "high": 3}
KINDS: Final = {"normal": 1, "emergency": 4}
OPEN: Final = 1


class Freshservice(ChangeSystem[FreshserviceSettings]):
    """Changes of a Freshservice account."""

    Settings = FreshserviceSettings

    def __init__(self, name: str, settings: FreshserviceSettings) -> None:
        super().__init__(name, settings)
        self._web = Web(
            f"{settings.url}/api/v2/",
            settings.login(),
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )

    def read(self, ref: str) -> ChangeRecord:
        """Read a change, and what each of its approvers said."""
        number = self._number(ref)
        value = self._change(number)
        approvals = self._rows(f"changes/{number}/approvals", "approvals")
        return record_of(self.name, Change(value, approvals), self.settings)

    def find(self, key: str) -> str:
        """Give the number of the change that was made with this key, among the newest; "" where there is none."""
        column = self.settings.field("key")
        for page in range(1, NEWEST + 1):
            params = {
                "per_page": str(ROWS),
                "page": str(page),
                "order_by": "created_at",
                "order_type": "desc",
            }
            rows = at(self._web.ask("GET", "changes", params=params).value, "changes")
            if not isinstance(rows, list):
                raise Unreachable(f"{self.name}: the list of changes was answered without one")
            for row in rows:
                if at(row, "custom_fields", column) == key:
                    return str(at(row, "id"))
            if len(rows) < ROWS:
                break
        return ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a change, plan it, and ask its approvers; says which fields Freshservice did not keep."""
        if draft.type == "standard":
            raise Refused(
                f"{self.name}: a standard change is made from its template in Freshservice; link that one"
            )
        custom = self._custom(draft)
        body: dict[str, Json] = {
            "subject": words(draft.title, longest=200).replace("\n", " "),
            "description": _page(
                draft.justification, f"Incident: {draft.incident}" if draft.incident else ""
            ),
            "requester_id": self.settings.requester_id,
            "status": OPEN,
            "priority": 4 if draft.type == "emergency" else 2,
            "impact": 2,
            "risk": RISKS[draft.risk],
            "change_type": KINDS[draft.type],
            "custom_fields": dict(custom),
        }
        if draft.window is not None:
            body["planned_start_date"] = f"{draft.window.start:%Y-%m-%dT%H:%M:%SZ}"
            body["planned_end_date"] = f"{draft.window.end:%Y-%m-%dT%H:%M:%SZ}"
        made = self._web.ask("POST", "changes", body=body).value
        ref = at(made, "change", "id")
        if not isinstance(ref, int):
            raise Refused(
                f"{self.name}: Freshservice made a change and did not say which; look for {draft.key}"
            )
        self._plan(ref, draft)
        self._ask_approvers(ref)
        kept = at(self._change(str(ref)), "custom_fields")
        lost = sorted(name for name, text in custom.items() if at(kept, name) != text)
        if lost:
            raise Refused(
                f"{self.name}: change {ref} is made, and Freshservice did not keep {', '.join(lost)}; add these custom"
                " fields to the form of changes"
            )
        return str(ref)

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact: the end first, and then the note whose key says that all is there."""
        number, mark = self._number(ref), f"[mimrun {addition.key}]"
        notes = self._rows(f"changes/{number}/notes", "notes")
        if any(mark in str(at(row, "body_text")) for row in notes):
            return Added(already=True)
        detail = self._end(number, addition) if addition.what == "close" else ""
        when = f"{addition.at:%Y-%m-%d %H:%M:%S} UTC" if addition.at is not None else ""
        body = _page(addition.text, when, addition.url, mark)
        self._web.ask("POST", f"changes/{number}/notes", body={"body": body})
        return Added(detail=detail)

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

    def _number(self, ref: str) -> str:
        found = REF.fullmatch(ref)
        if found is None:
            raise Refused(f"{self.name}: {ref!r} is not the number of a change")
        return found[1]

    def _change(self, number: str) -> Json:
        value = at(self._web.ask("GET", f"changes/{number}").value, "change")
        if not isinstance(value, dict) or str(value.get("id")) != number:
            raise Unreachable(f"{self.name}: change {number} was answered with something else")
        return value

    def _rows(self, path: str, name: str) -> list[Json]:
        """Read a list to its end; only an answer that names no next page is the last."""
        found: list[Json] = []
        for page in range(1, PAGES + 1):
            params = {"per_page": str(ROWS), "page": str(page)}
            reply = self._web.ask("GET", path, params=params)
            rows = at(reply.value, name)
            if not isinstance(rows, list):
                raise Unreachable(f"{self.name}: {path} was answered without a list of {name}")
            found += rows
            if 'rel="next"' not in reply.headers.get("link", "") and len(rows) < ROWS:
                return found
        raise Refused(f"{self.name}: {path} has more than {ROWS * PAGES} rows")

    def _custom(self, draft: ChangeDraft) -> dict[str, str]:
        given = {
            "run": draft.run,
            "digest": draft.digest,
            "targets": "\n".join(draft.targets),
            "key": draft.key,
        }
        return {self.settings.field(name): text for name, text in given.items() if text}

    def _plan(self, ref: int, draft: ChangeDraft) -> None:
        parts = {
            "reason_for_change": draft.justification,
            "rollout_plan": draft.plan,
            "backout_plan": draft.backout,
        }
        planning: dict[str, Json] = {
            name: {"description": _page(text)} for name, text in parts.items() if text
        }
        self._web.ask("PUT", f"changes/{ref}", body={"planning_fields": planning})

    def _ask_approvers(self, ref: int) -> None:
        if self.settings.approvers:
            group: dict[str, Json] = {
                "name": "mimrun",
                "approver_ids": list(self.settings.approvers),
                "approval_type": self.settings.approval,
            }
            self._web.ask("POST", f"changes/{ref}/approval_groups", body=group)

    def _end(self, number: str, addition: Addition) -> str:
        """Close a change, and look whether it is closed; gives what was not done."""
        states = {**STATES, **self.settings.state_map}
        closed = next((key for key, state in states.items() if state is ChangeState.CLOSED), "6")
        body: dict[str, Json] = {"status": int(closed), "custom_fields": dict(self.settings.close_fields)}
        try:
            self._web.ask("PUT", f"changes/{number}", body=body)
        except Refused as exc:
            return str(exc)
        now = str(at(self._change(number), "status"))
        return "" if now == closed else f"change {number} is in the state {now} and not closed"


def _page(*parts: str) -> str:
    """Make a text for a field that holds HTML: what anybody wrote is shown, and never obeyed."""
    lines = [line for part in parts for line in words(part).splitlines()]
    return "<br>".join(html.escape(line) for line in lines)
