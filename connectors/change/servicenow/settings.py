"""What `changes.yaml` says of a ServiceNow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from pydantic import field_validator, model_validator

from connectors.change.web import basic
from mimrun.change_system import ChangeState, ChangeSystemSettings, Field, read_secret

STATES: Final = {
    "-5": ChangeState.DRAFT,
    "-4": ChangeState.ASSESS,
    "-3": ChangeState.AUTHORIZE,
    "-2": ChangeState.SCHEDULED,
    "-1": ChangeState.IMPLEMENT,
    "0": ChangeState.REVIEW,
    "3": ChangeState.CLOSED,
    "4": ChangeState.CANCELED,
}
"""What the states of the change models that come with ServiceNow mean; others go into `state_map`."""


class ServiceNowSettings(ChangeSystemSettings):
    """An instance of ServiceNow, and how mimrun logs in to it.

    The login needs to read change_request, sysapproval_approver, task_ci, sys_journal_field and conflicts, and to write
    what mimrun adds. It needs no right to approve, and should have none.
    """

    url: str = Field(description="The instance: https://HOST.")
    user: str = Field("", description="The account, for a login with a password.")
    password: str = Field("", description="A reference to its password.")
    token: str = Field("", description="A reference to an OAuth token, instead of a password.")
    api_key: str = Field("", description="A reference to an API key, instead of a password.")
    assignment_group: str = Field(
        "", description="The name of the group that new changes are for; from Assess on there must be one."
    )
    check_conflicts: bool = Field(
        default=True,
        description="False: this instance looks for no conflicts, and mimrun's own calendars decide.",
    )
    audit: bool = Field(
        default=False,
        description="Also read sys_audit, and refuse what was changed after it was approved. The login must be"
        " allowed to read that table.",
    )
    move: bool = Field(
        default=True,
        description="Move changes on to Implement, Review and Closed. False: only times and notes are written.",
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        given = [name for name in ("password", "token", "api_key") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "give one of password (with user), token and api_key, each as a reference to a secret"
            )
        if bool(self.user) is not bool(self.password):
            raise ValueError("user and password belong together")
        return self

    def login(self) -> Mapping[str, str]:
        """Give the headers to log in with.

        Raises:
            SettingsError: the secret cannot be read.
        """
        if self.token:
            return {"Authorization": f"Bearer {read_secret(self.token).reveal()}"}
        if self.api_key:
            return {"x-sn-apikey": read_secret(self.api_key).reveal()}
        return basic(self.user, read_secret(self.password).reveal())

    def states(self) -> Mapping[str, ChangeState]:
        """Give what each state means."""
        return {**STATES, **self.state_map}

    def number_of(self, state: ChangeState) -> str:
        """Give the instance's own number of a state; "" where it has none.

        What `changes.yaml` says comes first: a model of one's own has numbers of its own.
        """
        own = [number for number, meaning in self.state_map.items() if meaning is state]
        usual = [
            number for number, meaning in STATES.items() if meaning is state and number not in self.state_map
        ]
        return (own + usual + [""])[0]
