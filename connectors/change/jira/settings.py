"""What `changes.yaml` says of a Jira Service Management."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import field_validator, model_validator

from connectors.change.web import basic
from mimrun.change_system import ChangeState, ChangeSystemSettings, Field, read_secret

STATES: Final = {
    "open": ChangeState.DRAFT,
    "planning": ChangeState.ASSESS,
    "under review": ChangeState.ASSESS,
    "review": ChangeState.ASSESS,
    "authorize": ChangeState.AUTHORIZE,
    "awaiting approval": ChangeState.AUTHORIZE,
    "awaiting cab approval": ChangeState.AUTHORIZE,
    "awaiting implementation": ChangeState.SCHEDULED,
    "implementing": ChangeState.IMPLEMENT,
    "completed": ChangeState.CLOSED,
    "failed": ChangeState.CLOSED,
    "declined": ChangeState.CANCELED,
    "canceled": ChangeState.CANCELED,
    "cancelled": ChangeState.CANCELED,
}
"""Names of states that the workflows for changes that come with the product have had; others go into `state_map`."""
HOLDS: Final = (
    "type",
    "run",
    "digest",
    "key",
    "targets",
    "window_start",
    "window_end",
    "backout",
    "plan",
)
"""What custom fields can hold; the first four must be there."""
NEEDED: Final = ("type", "run", "digest", "key")
_ID: Final = re.compile(r"customfield_[0-9]{1,9}", re.ASCII)


class JiraSettings(ChangeSystemSettings):
    """A Jira with its service desk, and what its custom fields are called."""

    url: str = Field(description="The site: https://NAME.atlassian.net, or where the data center is.")
    kind: Literal["cloud", "data_center"] = Field(
        "cloud", description="In the Cloud people are account ids, and in a data center user names."
    )
    email: str = Field(
        "", description="The account of an API token of the Cloud; without it the token is a bearer."
    )
    token: str = Field(description="A reference to the token of mimrun's account, which approves nothing.")
    service_desk: str = Field("", description="The number of the service desk that new changes are made in.")
    request_types: dict[Literal["normal", "emergency"], str] = Field(
        {}, description="By the type of a change, the number of the request type that is made for it."
    )
    fields: dict[str, str] = Field(
        description="The ids of custom fields by what they hold, such as `digest: customfield_10050`."
    )
    begun: str = Field("Implementing", description='The state while work goes on; "" leaves it as it is.')
    done: str = Field(
        "Completed", description='The state after work that was successful; "" leaves it as it is.'
    )
    failed: str = Field("Failed", description='The state after work that was not; "" leaves it as it is.')

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/")

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: dict[str, str]) -> dict[str, str]:
        if wrong := sorted(set(fields) - set(HOLDS)):
            raise ValueError(f"fields: nothing is called {wrong[0]!r}; there are {', '.join(HOLDS)}")
        if lacking := [name for name in NEEDED if name not in fields]:
            raise ValueError(
                f"fields: {', '.join(lacking)} must have a custom field, or nothing can be decided"
            )
        if bad := [id_ for id_ in fields.values() if not _ID.fullmatch(id_)]:
            raise ValueError(f"fields: {bad[0]!r} is not the id of a custom field, such as customfield_10050")
        return fields

    @model_validator(mode="after")
    def _makes(self) -> Self:
        if self.request_types and not self.service_desk:
            raise ValueError("request_types needs service_desk")
        return self

    @property
    def account(self) -> str:
        """What names a person."""
        return "accountId" if self.kind == "cloud" else "name"

    def states(self) -> Mapping[str, ChangeState]:
        """Give what each state means, by its name in small letters."""
        return {**STATES, **{name.casefold(): state for name, state in self.state_map.items()}}

    def login(self) -> Mapping[str, str]:
        """Give the headers to log in with.

        Raises:
            SettingsError: the secret cannot be read.
        """
        token = read_secret(self.token).reveal()
        if not self.email:
            return {"Authorization": f"Bearer {token}"}
        return basic(self.email, token)
