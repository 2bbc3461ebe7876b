"""Who acts, and the kill switch."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from mimrun.app.killswitch import lift, pull, standing_of
from mimrun.web.acting import Acting
from mimrun.web.api.model import PREFIX, Given, NeededReason, Shown
from mimrun.web.route import does, new_router

router: Final = new_router(PREFIX, shown=True)


class Me(Shown):
    """Who acts, and how that is known."""

    person: str
    auth: str
    roles: list[str]
    scopes: list[str] | None = Field(description="What the token is for; null where it is not a token.")
    until: str


class KillSwitch(Shown):
    """Whether everything stands still."""

    pulled: bool
    why: str
    agreed: list[str] = Field(description="Who agreed to lift it.")
    needed: int = Field(description="So many people lift it.")


class Pull(Given):
    """Why everything is to stand still, or may go on."""

    reason: NeededReason


@router.get("/whoami", response_model=Me)
@does("whoami")
def whoami(who: Acting) -> dict[str, Any]:
    """Say who acts."""
    signed, person = who.home.signed_in, who.identity.person
    scopes = signed.scopes if signed is not None else None
    return {
        "person": person.id,
        "auth": who.identity.auth,
        "roles": sorted(person.roles),
        "scopes": sorted(scopes) if scopes is not None else None,
        "until": signed.until if signed is not None else "",
    }


@router.get("/kill-switch", response_model=KillSwitch)
@does("kill-switch show")
def kill_switch(who: Acting) -> dict[str, Any]:
    """Say whether everything stands still."""
    return standing_of(who.home).as_json()


@router.post("/kill-switch/pull", response_model=KillSwitch)
@does("kill-switch pull")
def pull_it(who: Acting, given: Pull) -> dict[str, Any]:
    """Stop everything at once. Anybody may; two people let it go on."""
    pull(who.home.settings, who.identity, given.reason)
    return standing_of(who.home).as_json()


@router.post("/kill-switch/lift", response_model=KillSwitch)
@does("kill-switch lift")
def lift_it(who: Acting, given: Pull) -> dict[str, Any]:
    """Agree that everything goes on; the second person's word lifts it."""
    return lift(who.home, who.identity, given.reason).as_json()
