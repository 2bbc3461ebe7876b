"""Asking a Jira Service Management, and writing back to it: facts, never decisions."""

from __future__ import annotations

import re
from typing import Final

from connectors.change.fields import at, words
from connectors.change.jira.record import Request, record_of
from connectors.change.jira.settings import JiraSettings
from connectors.change.web import Web
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeSystem,
    Refused,
    Unreachable,
)
from mimrun.connector import Json

ISSUE: Final = "rest/api/2/issue"
DESK: Final = "rest/servicedeskapi/request"
ROWS: Final = 50
PAGES: Final = 40
REF: Final = re.compile(r"[A-Z][A-Z0-9_]{1,30}-[1-9][0-9]{0,9}", re.ASCII)
KEY: Final = re.compile(r"[\w .:=/@+-]{1,120}", re.ASCII)
"""Nothing that ends a text in a query."""


class Jira(ChangeSystem[JiraSettings]):
    """Changes as requests of a service desk."""

    Settings = JiraSettings

    def __init__(self, name: str, settings: JiraSettings) -> None:
        super().__init__(name, settings)
        self._web = Web(
            f"{settings.url}/", settings.login(), timeout_s=settings.timeout_s, ca_file=settings.ca_file
        )

    def read(self, ref: str) -> ChangeRecord:
        """Read a request, what each of its approvers said, and who changed what."""
        issue = self._issue(ref)
        approvals: list[Json] = []
        for _ in range(PAGES):
            params = {"start": str(len(approvals)), "limit": str(ROWS)}
            reply = self._web.ask("GET", f"{DESK}/{ref}/approval", params=params).value
            rows, last = at(reply, "values"), at(reply, "isLastPage")
            if not isinstance(rows, list) or not isinstance(last, bool):
                raise Unreachable(f"{self.name}: the approvals of {ref} were answered without a list")
            approvals += rows
            if last:
                return record_of(self.name, Request(issue, approvals), self.settings)
            if not rows:
                break
        raise Refused(f"{self.name}: the list of approvals of {ref} has no end")

    def find(self, key: str) -> str:
        """Give the key of the issue that was made with this key; "" where there is none."""
        self._require_key(key)
        column = self.settings.fields["key"]
        number = column.removeprefix("customfield_")
        path = "rest/api/2/search/jql" if self.settings.kind == "cloud" else "rest/api/2/search"
        params = {"jql": f'cf[{number}] ~ "\\"{key}\\"" ORDER BY created ASC', "fields": column}
        issues = at(self._web.ask("GET", path, params={**params, "maxResults": str(ROWS)}).value, "issues")
        for issue in issues if isinstance(issues, list) else []:
            # The search finds words; only the very key is ours.
            if at(issue, "fields", column) == key:
                return str(at(issue, "key"))
        return ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a request, and then fill in what its form does not show; says what Jira did not take."""
        self._require_key(draft.key)
        kind = self.settings.request_types.get(draft.type) if draft.type != "standard" else None
        if kind is None:
            raise Refused(
                f"{self.name}: no request type is named for {draft.type} changes; name one under request_types in"
                " changes.yaml, or make the change in Jira and link it"
            )
        body: dict[str, Json] = {
            "serviceDeskId": self.settings.service_desk,
            "requestTypeId": kind,
            "requestFieldValues": {
                "summary": words(draft.title, longest=200).replace("\n", " "),
                "description": _text(draft),
            },
        }
        made = self._web.ask("POST", DESK, body=body).value
        ref = at(made, "issueKey")
        if not isinstance(ref, str) or not REF.fullmatch(ref):
            raise Refused(f"{self.name}: Jira made a request and did not say which; look for {draft.key}")
        custom = self._custom(draft)
        self._web.ask("PUT", f"{ISSUE}/{ref}", body={"fields": custom})
        kept = at(self._issue(ref), "fields")
        lost = sorted(
            name
            for name, id_ in self.settings.fields.items()
            if id_ in custom and name in ("run", "digest", "key") and at(kept, id_) != custom[id_]
        )
        if lost:
            raise Refused(f"{self.name}: {ref} is made, and Jira did not keep {', '.join(lost)}")
        return ref

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact: links and the state first, and then the comment whose key says that all is there."""
        self._require_ref(ref)
        mark = f"[mimrun {addition.key}]"
        if self._is_there(ref, mark):
            return Added(already=True)
        if addition.url:
            link: dict[str, Json] = {
                "globalId": f"mimrun {addition.key}",
                "object": {
                    "url": addition.url,
                    "title": words(addition.text, longest=100).replace("\n", " "),
                },
            }
            self._web.ask("POST", f"{ISSUE}/{ref}/remotelink", body=link)
        detail = self._move(ref, self._wanted(addition))
        when = f"{addition.at:%Y-%m-%d %H:%M:%S} UTC" if addition.at is not None else ""
        text = "\n".join(part for part in (addition.text, when, mark) if part)
        # Not public: whoever asked for the change does not read mimrun's notes.
        self._web.ask("POST", f"{DESK}/{ref}/comment", body={"body": text, "public": False})
        return Added(detail=detail)

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

    def _issue(self, ref: str) -> Json:
        self._require_ref(ref)
        fields = ["summary", "status", "reporter", "updated", *self.settings.fields.values()]
        params = {"fields": ",".join(fields), "expand": "changelog"}
        value = self._web.ask("GET", f"{ISSUE}/{ref}", params=params).value
        if at(value, "key") != ref:
            raise Refused(f"{self.name}: {ref} has moved to {words(at(value, 'key'), longest=40)}; name that")
        return value

    def _is_there(self, ref: str, mark: str) -> bool:
        """Look whether a comment has the mark; comments are read from the first to the last."""
        start = 0
        for _ in range(PAGES):
            params = {"startAt": str(start), "maxResults": str(ROWS)}
            reply = self._web.ask("GET", f"{ISSUE}/{ref}/comment", params=params).value
            rows, total = at(reply, "comments"), at(reply, "total")
            if not isinstance(rows, list) or not isinstance(total, int):
                raise Unreachable(f"{self.name}: the comments of {ref} were answered without a list")
            if any(mark in str(at(row, "body")) for row in rows):
                return True
            start += len(rows)
            if start >= total or not rows:
                return False
        raise Refused(f"{self.name}: {ref} has more than {ROWS * PAGES} comments")

    def _wanted(self, addition: Addition) -> str:
        if addition.what == "started":
            return self.settings.begun
        if addition.what != "close":
            return ""
        return self.settings.done if addition.successful else self.settings.failed

    def _move(self, ref: str, state: str) -> str:
        """Bring an issue into a state by the transition that leads there; gives what was not done."""
        if not state or self._state(ref) == state.casefold():
            return ""
        moves = at(self._web.ask("GET", f"{ISSUE}/{ref}/transitions").value, "transitions")
        leads = [m for m in moves if _name(m, "to") == state.casefold()] if isinstance(moves, list) else []
        if not leads:
            return f"no transition leads from here to {state}"
        try:
            self._web.ask(
                "POST", f"{ISSUE}/{ref}/transitions", body={"transition": {"id": str(at(leads[0], "id"))}}
            )
        except Refused as exc:
            return str(exc)
        return "" if self._state(ref) == state.casefold() else f"{ref} did not go to {state}"

    def _state(self, ref: str) -> str:
        return _name(at(self._issue(ref), "fields"), "status")  # type: ignore[arg-type]  # MISSING has no name

    def _custom(self, draft: ChangeDraft) -> dict[str, Json]:
        given = {
            "run": draft.run,
            "digest": draft.digest,
            "key": draft.key,
            "targets": "\n".join(draft.targets),
            "backout": draft.backout,
            "plan": draft.plan,
        }
        if draft.window is not None:
            given |= {"window_start": f"{draft.window.start:%Y-%m-%dT%H:%M:%S.000+0000}"}
            given |= {"window_end": f"{draft.window.end:%Y-%m-%dT%H:%M:%S.000+0000}"}
        custom: dict[str, Json] = {
            self.settings.fields[name]: text
            for name, text in given.items()
            if text and name in self.settings.fields
        }
        if "type" in self.settings.fields:
            custom[self.settings.fields["type"]] = {"value": draft.type.capitalize()}
        return custom

    def _require_ref(self, ref: str) -> None:
        if not REF.fullmatch(ref):
            raise Refused(f"{self.name}: {ref!r} is not the key of an issue, such as OPS-7")

    def _require_key(self, key: str) -> None:
        if not KEY.fullmatch(key):
            raise Refused(f"{self.name}: the key {key!r} cannot be looked for in Jira")


def _name(value: Json, what: str) -> str:
    found = at(value, what, "name")
    return found.casefold() if isinstance(found, str) else ""


def _text(draft: ChangeDraft) -> str:
    parts = (
        draft.justification,
        f"Incident: {draft.incident}" if draft.incident else "",
        f"Risk: {draft.risk}",
        f"What is done:\n{draft.plan}",
        f"How it is taken back:\n{draft.backout}" if draft.backout else "",
        f"[mimrun {draft.key}]",
    )
    return "\n\n".join(part for part in parts if part)
