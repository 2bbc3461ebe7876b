"""Asking a ServiceNow, and writing back to it: facts, never decisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from connectors.change.fields import Found, at, words
from connectors.change.servicenow.record import (
    FIELDS,
    PROTECTED,
    RUN,
    Change,
    number,
    record_of,
    sys_id,
    value_of,
)
from connectors.change.servicenow.settings import ServiceNowSettings
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

TABLE: Final = "api/now/table"
CHANGE: Final = "api/sn_chg_rest/v1/change"
ROWS: Final = 100
PAGES: Final = 20
"""Pages of one table that are read; a change with more approvers than 2,000 is read by nobody."""
REF: Final = re.compile(r"[A-Za-z0-9]{1,40}", re.ASCII)
KEY: Final = re.compile(r"[\w .:=/@+-]{1,90}", re.ASCII)
"""Neither `^`, which parts conditions of a query, nor a wild card."""
RISKS: Final = {"low": "low", "medium": "moderate", "high": "high"}


class ServiceNow(ChangeSystem[ServiceNowSettings]):
    """Changes as rows of `change_request` of a ServiceNow instance."""

    Settings = ServiceNowSettings

    def __init__(self, name: str, settings: ServiceNowSettings) -> None:
        super().__init__(name, settings)
        self._web = Web(
            settings.url, settings.login(), timeout_s=settings.timeout_s, ca_file=settings.ca_file
        )

    def read(self, ref: str) -> ChangeRecord:
        """Read a change, its approvers, what it is about, and what speaks against its time."""
        row = self._row(ref)
        id_ = sys_id(row)
        approvers = self._rows(
            "sysapproval_approver",
            f"sysapproval={id_}^ORdocument_id={id_}",
            ("state", "approver.user_name", "comments", "sys_updated_on"),
        )
        affected = self._rows("task_ci", f"task={id_}", ("ci_item.name",))
        conflicts: Found = None
        if self.settings.check_conflicts:
            conflicts = self._web.ask("GET", f"{CHANGE}/{id_}/conflict").value
        audit = self._audit(id_) if self.settings.audit else None
        return record_of(self.name, Change(row, approvers, affected, conflicts, audit), self.settings)

    def find(self, key: str) -> str:
        """Give the number of the change that was made with this key; "" where there is none."""
        self._require_key(key)
        rows = self._rows("change_request", f"descriptionLIKE{_mark(key)}^ORDERBYsys_created_on", ("number",))
        return str(value_of(rows[0], "number")) if rows else ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a change and ask for its approval; says which fields the instance did not take.

        A standard change is made of a template over there, by whoever may, and linked here.
        """
        self._require_key(draft.key)
        if draft.type == "standard":
            raise Refused(
                f"{self.name}: a standard change is made from its template in ServiceNow; link that one"
            )
        reply = self._web.ask("POST", f"{CHANGE}/{draft.type}", params=self._fields(draft)).value
        row = at(reply, "result")
        ref = value_of(row if isinstance(row, dict) else None, "number")
        if not isinstance(ref, str):
            raise Refused(
                f"{self.name}: ServiceNow made a change and did not say which; look for {_mark(draft.key)}"
            )
        ignored = at(row, "__meta", "ignoredFields")
        names = [str(name) for name in ignored] if isinstance(ignored, list) else []
        if names:
            raise Refused(
                f"{self.name}: {ref} is made, and ServiceNow did not take {', '.join(names)}; look at the rights of"
                " mimrun's account (sn_change_write) and at the access rules of these columns"
            )
        if self.settings.move:
            asked = ChangeState.ASSESS if draft.type == "normal" else ChangeState.AUTHORIZE
            self._move(sys_id(row if isinstance(row, dict) else None), ref, asked, {})
        return ref

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact: times and the state first, and then the work note whose key says that all is there."""
        self._require_key(addition.key)
        row = self._row(ref)
        id_ = sys_id(row)
        query = f"element_id={id_}^element=work_notes^valueLIKE{_mark(addition.key)}"
        if self._rows("sys_journal_field", query, ("sys_id",)):
            return Added(already=True)
        left = [self._times(id_, addition), *self._states(id_, ref, row, addition)]
        note = "\n".join(part for part in (addition.text, addition.url, _mark(addition.key)) if part)
        self._web.ask("PATCH", f"{TABLE}/change_request/{id_}", body={"work_notes": note})
        return Added(detail="; ".join(filter(None, left)))

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

    def _row(self, ref: str) -> Json:
        """Read a change by its number or its sys_id."""
        if not REF.fullmatch(ref):
            raise Refused(f"{self.name}: {ref!r} is not the number of a change")
        rows = self._rows("change_request", f"number={ref}^ORsys_id={ref}", FIELDS)
        if len(rows) != 1 or not REF.fullmatch(sys_id(rows[0])):
            raise Refused(f"{self.name}: there {'are several changes' if rows else 'is no change'} {ref}")
        return rows[0]

    def _rows(self, table: str, query: str, fields: tuple[str, ...]) -> list[Json]:
        """Read all rows of a table that fit, page by page."""
        found: list[Json] = []
        for page in range(PAGES):
            params = {
                "sysparm_query": query if "ORDERBY" in query else f"{query}^ORDERBYsys_id",
                "sysparm_fields": ",".join(("sys_id", *(name for name in fields if name != "sys_id"))),
                "sysparm_display_value": "all",
                "sysparm_exclude_reference_link": "true",
                "sysparm_limit": str(ROWS),
                "sysparm_offset": str(page * ROWS),
            }
            rows = at(self._web.ask("GET", f"{TABLE}/{table}", params=params).value, "result")
            if not isinstance(rows, list):
                raise Unreachable(f"{self.name}: table {table} was answered without a list of rows")
            found += rows
            if len(rows) < ROWS:
                return found
        raise Refused(f"{self.name}: table {table} has more than {ROWS * PAGES} rows for this change")

    def _audit(self, id_: str) -> list[Json] | str:
        columns = ",".join(PROTECTED)
        query = f"documentkey={id_}^fieldnameIN{columns}"
        try:
            return self._rows("sys_audit", query, ("fieldname", "user", "sys_created_on"))
        except Refused as exc:
            return str(exc)

    def _fields(self, draft: ChangeDraft) -> dict[str, str]:
        parts = [
            draft.justification,
            f"Incident: {draft.incident}" if draft.incident else "",
            _mark(draft.key),
        ]
        fields = {
            "short_description": words(draft.title, longest=150).replace("\n", " "),
            "description": "\n".join(part for part in parts if part),
            "justification": draft.justification,
            "implementation_plan": draft.plan,
            "backout_plan": draft.backout,
            "test_plan": draft.test,
            "risk_impact_analysis": f"Risk as the runbook says: {RISKS[draft.risk]}. Hosts: {', '.join(draft.targets)}",
            "correlation_id": f"{RUN}{draft.run}" if draft.run else "",
            "correlation_display": draft.digest,
            "cmdb_ci": draft.targets[0] if len(draft.targets) == 1 else "",
            "assignment_group": self.settings.assignment_group,
            "requested_by": draft.requested_by,
        }
        if draft.window is not None:
            fields |= {"start_date": _time(draft.window.start), "end_date": _time(draft.window.end)}
        return {name: text for name, text in fields.items() if text}

    def _times(self, id_: str, addition: Addition) -> str:
        """Write when work began or ended, and look whether it stands there; gives what was not taken."""
        column = {"started": "work_start", "ended": "work_end"}.get(addition.what)
        if column is None or addition.at is None:
            return ""
        wanted = _time(addition.at)
        try:
            reply = self._web.ask("PATCH", f"{TABLE}/change_request/{id_}", body={column: wanted})
        except Refused as exc:
            return str(exc)
        kept = value_of(at_row(reply.value), column)
        return "" if kept == wanted else f"{column} was not taken"

    def _states(self, id_: str, ref: str, row: Json, addition: Addition) -> list[str]:
        """Move a change on where work began, or is to be closed; gives what was not done."""
        state = self.settings.states().get(str(number(value_of(row, "state"))))
        if not self.settings.move:
            return []
        if addition.what == "started" and state is ChangeState.SCHEDULED:
            return [self._try(id_, ref, ChangeState.IMPLEMENT, {})]
        if addition.what != "close" or state in (ChangeState.CLOSED, ChangeState.CANCELED):
            return []
        code = "successful" if addition.successful else "unsuccessful"
        closing = {"close_code": code, "close_notes": addition.text}
        steps = [] if state is ChangeState.REVIEW else [self._try(id_, ref, ChangeState.REVIEW, closing)]
        return [*steps, self._try(id_, ref, ChangeState.CLOSED, closing)]

    def _try(self, id_: str, ref: str, state: ChangeState, more: Mapping[str, str]) -> str:
        try:
            self._move(id_, ref, state, more)
        except Refused as exc:
            return str(exc)
        return ""

    def _move(self, id_: str, ref: str, state: ChangeState, more: Mapping[str, str]) -> None:
        """Bring a change into a state, with the fields that belong to it, and see that it is there."""
        wanted = self.settings.number_of(state)
        reply = self._web.ask(
            "PATCH", f"{TABLE}/change_request/{id_}", body={"state": wanted, **more}, usable=(400, 403)
        )
        now = self._row(id_)
        if number(value_of(now, "state")) != wanted:
            said = words(at(reply.value, "error", "message"), longest=200)
            why = "; ".join(part for part in (said, self._hindrance(id_, wanted)) if part)
            raise Refused(f"{self.name}: {ref} did not go to {state.value}: {why or 'no reason was given'}")

    def _hindrance(self, id_: str, wanted: str) -> str:
        """Say which condition keeps a change out of a state, in the instance's own words."""
        try:
            reply = self._web.ask("GET", f"{CHANGE}/{id_}/nextstates").value
        except (Refused, Unreachable):
            return ""
        lists = at(reply, "result", "state_transitions")
        failed = []
        for one in lists if isinstance(lists, list) else []:
            for move in one if isinstance(one, list) else []:
                if number(at(move, "to_state")) == wanted:
                    conditions = at(move, "conditions")
                    rows = conditions if isinstance(conditions, list) else []
                    failed += [at(row, "condition", "name") for row in rows if at(row, "passed") is False]
        return ", ".join(words(name, longest=100) for name in failed)

    def _require_key(self, key: str) -> None:
        if not KEY.fullmatch(key):
            raise Refused(f"{self.name}: the key {key!r} cannot be looked for in ServiceNow")


def at_row(reply: Json) -> Json:
    """Give the row that an answer holds."""
    found = at(reply, "result")
    return found if isinstance(found, dict) else None


def _mark(key: str) -> str:
    return f"[mimrun {key}]"


def _time(moment: datetime) -> str:
    """Write a moment as tables hold it: UTC, without saying so."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
