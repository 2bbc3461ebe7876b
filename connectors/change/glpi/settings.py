"""What `changes.yaml` says of a GLPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import field_validator

from mimrun.change_system import ChangeState, ChangeSystemSettings, Field, read_secret

STATES: Final = {
    "1": ChangeState.DRAFT,
    "9": ChangeState.ASSESS,
    "4": ChangeState.ASSESS,
    "10": ChangeState.AUTHORIZE,
    "7": ChangeState.SCHEDULED,
    "12": ChangeState.SCHEDULED,
    "2": ChangeState.IMPLEMENT,
    "3": ChangeState.IMPLEMENT,
    "11": ChangeState.IMPLEMENT,
    "5": ChangeState.REVIEW,
    "8": ChangeState.REVIEW,
    "6": ChangeState.CLOSED,
    "13": ChangeState.CANCELED,
    "14": ChangeState.CANCELED,
}
"""New, evaluation, pending, approval, accepted, qualification, processing (assigned, planned), testing, applied,
reviewed, closed, refused, canceled."""


class GlpiSettings(ChangeSystemSettings):
    """A GLPI with its REST interface switched on."""

    url: str = Field(
        description="Where its pages are: https://HOST, or https://HOST/glpi; without /apirest.php."
    )
    user_token: str = Field(
        description="A reference to the token of mimrun's account, which validates nothing."
    )
    app_token: str = Field(
        "", description="A reference to the token of the client, where the instance wants one."
    )
    zone: str = Field("UTC", description="The time zone of the server, such as Europe/Paris.")
    history: bool = Field(
        default=True,
        description="Read the history, and refuse what was changed after it was approved. The profile of mimrun's"
        " account must be allowed to see it.",
    )
    validators: tuple[int, ...] = Field(
        (), description="Numbers of users who are asked to validate new changes."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/").removesuffix("/apirest.php")

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as exc:
            raise ValueError(f"zone: {zone!r} is no time zone, such as Europe/Paris") from exc
        return zone

    def login(self) -> Mapping[str, str]:
        """Give the headers that a session is begun with.

        Raises:
            SettingsError: a secret cannot be read.
        """
        return {"Authorization": f"user_token {read_secret(self.user_token).reveal()}"}

    def client(self) -> Mapping[str, str]:
        """Give the headers that go with every request.

        Raises:
            SettingsError: the secret cannot be read.
        """
        return {"App-Token": read_secret(self.app_token).reveal()} if self.app_token else {}
