"""What `changes.yaml` says of a Freshservice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import JsonValue, field_validator

from connectors.change.web import basic
from mimrun.change_system import ChangeState, ChangeSystemSettings, ChangeType, Field, read_secret

STATES: Final = {
    "1": ChangeState.DRAFT,
    "2": ChangeState.ASSESS,
    "3": ChangeState.AUTHORIZE,
    "4": ChangeState.SCHEDULED,
    "5": ChangeState.REVIEW,
    "6": ChangeState.CLOSED,
}
"""Open, Planning, Awaiting Approval, Pending Release, Pending Review, Closed; others go into `state_map`."""
TYPES: Final[Mapping[str, ChangeType]] = {"1": "normal", "2": "standard", "3": "normal", "4": "emergency"}
"""Minor, Standard, Major, Emergency."""
FIELDS: Final = {
    "run": "mimrun_run",
    "digest": "mimrun_digest",
    "targets": "mimrun_targets",
    "key": "mimrun_key",
}
"""The custom fields that the form of changes needs, by what they hold; single-line texts, targets a paragraph."""


class FreshserviceSettings(ChangeSystemSettings):
    """A Freshservice account, and what its form of changes calls things."""

    url: str = Field(description="The account: https://NAME.freshservice.com.")
    api_key: str = Field(description="A reference to the API key of mimrun's agent, which approves nothing.")
    requester_id: int = Field(ge=1, description="The number of the requester in whose name changes are made.")
    approvers: tuple[int, ...] = Field(
        (), description="Numbers of agents who are asked to approve new changes."
    )
    approval: Literal["everyone", "any"] = Field("any", description="How many of them must.")
    fields: dict[str, str] = Field({}, description="Other names of the custom fields, by what they hold.")
    close_fields: dict[str, JsonValue] = Field(
        {}, description="Custom fields that must be filled when a change is closed."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/").removesuffix("/api/v2")

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: dict[str, str]) -> dict[str, str]:
        if wrong := sorted(set(fields) - set(FIELDS)):
            raise ValueError(f"fields: nothing is called {wrong[0]!r}; there are {', '.join(FIELDS)}")
        if empty := [name for name, column in fields.items() if not column]:
            raise ValueError(f"fields: {empty[0]} needs the name of a custom field")
        return fields

    def field(self, name: str) -> str:
        """Give the name of the custom field that holds something."""
        return self.fields.get(name, FIELDS[name])

    def login(self) -> Mapping[str, str]:
        """Give the headers to log in with.

        Raises:
            SettingsError: the secret cannot be read.
        """
        return basic(read_secret(self.api_key).reveal(), "X")
