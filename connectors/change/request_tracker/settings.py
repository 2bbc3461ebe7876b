"""What `changes.yaml` says of a Request Tracker."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import field_validator

from mimrun.change_system import ChangeState, ChangeSystemSettings, Field

FIELDS: Final = {
    "type": "Change type",
    "risk": "Risk",
    "incident": "Incident",
    "runbook": "Runbook",
    "run": "Run",
    "digest": "Digest",
    "targets": "Targets",
    "window_start": "Window start",
    "window_end": "Window end",
    "valid_until": "Valid until",
    "backout": "Backout plan",
    "key": "mimrun key",
}
"""The custom fields as `deploy/rt/setup` makes them, by what they hold."""

STATES: Final = {
    # The lifecycle of deploy/rt/.
    "draft": ChangeState.DRAFT,
    "submitted": ChangeState.AUTHORIZE,
    "approved": ChangeState.SCHEDULED,
    "implementing": ChangeState.IMPLEMENT,
    "done": ChangeState.CLOSED,
    "failed": ChangeState.CLOSED,
    "rejected": ChangeState.CANCELED,
    "cancelled": ChangeState.CANCELED,
    # Request Tracker's own lifecycle, for approvals by tickets.
    "new": ChangeState.DRAFT,
    "open": ChangeState.ASSESS,
    "stalled": ChangeState.ASSESS,
    "resolved": ChangeState.CLOSED,
    "deleted": ChangeState.CANCELED,
}
"""What a state means."""


class RequestTrackerSettings(ChangeSystemSettings):
    """A Request Tracker 5, and what its queue of changes calls things."""

    url: str = Field(description="Where its pages are: https://HOST, without /REST/2.0.")
    token: str = Field(
        description="A reference to the token of mimrun's account, such as `file:/etc/mimrun/rt.token`."
    )
    account: str = Field(
        "svc-mimrun", min_length=1, description="The name of mimrun's account; it approves nothing."
    )
    queue: str = Field("Changes", min_length=1, max_length=120, description="The queue of changes.")
    approvals: Literal["state", "tickets"] = Field(
        "state",
        description="Where approvals are given: by moving the ticket into an approved state, or by tickets in"
        " ___Approvals that it depends on. Where a ticket has both, both must be given.",
    )
    asked: str = Field("submitted", description="The state of a ticket whose approval is asked for.")
    approved: tuple[str, ...] = Field(
        ("approved",), description="States that only an approver moves a ticket into."
    )
    rejected: tuple[str, ...] = Field(("rejected",), description="States in which it is refused.")
    begun: str = Field("implementing", description='The state while work goes on; "" leaves it as it is.')
    done: str = Field("done", description="The state after work that was successful.")
    failed: str = Field("failed", description="The state after work that was not.")
    fields: dict[str, str] = Field(
        {}, description='Other names of the custom fields, by what they hold; "" for one that there is not.'
    )

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: dict[str, str]) -> dict[str, str]:
        if wrong := sorted(set(fields) - set(FIELDS)):
            raise ValueError(f"nothing is called {wrong[0]!r}; there are {', '.join(FIELDS)}")
        if "key" in fields and not fields["key"]:
            raise ValueError("without a field for the key a change could be made twice; name one")
        return fields

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/").removesuffix("/REST/2.0")

    def field(self, name: str) -> str:
        """Give the name of the custom field that holds something; "" where there is none."""
        return self.fields.get(name, FIELDS[name])

    def state(self, word: str) -> ChangeState | None:
        """Give what a state means; None where nobody has said it."""
        known = {k.casefold(): v for k, v in {**STATES, **self.state_map}.items()}
        return known.get(word.casefold())
