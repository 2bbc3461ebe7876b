"""A program that speaks with the API, without a network: it signs in with a token of somebody.

with bench.home() as home:
    pipeline = Program(home, "responder", "read", "launch")
    made = pipeline.post("/runs", runbook="test", inputs={}, plan=digest)
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import httpx
from builders.console import InProcess

from mimrun.app.going_on import Start
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.tokens import Wanted, create_token
from mimrun.gate.people import Person
from mimrun.gate.scope import SCOPES
from mimrun.web.site import Site, make_site


def token_of(home: Home, person: str, *scopes: str, lasts: timedelta = timedelta(hours=1)) -> str:
    """Make a token for somebody; for everything where no scope is named."""
    name = f"t-{secrets.token_hex(6)}"
    identity = Identity(home.people().by_id.get(person, Person(person, person)), "os-user")
    wanted = Wanted(name, person, frozenset(scopes or SCOPES), lasts)
    return create_token(home, identity, wanted)[0].reveal()


class Program:
    """A program with a token.

    Arguments:
        home: opened, for as long as it is used.
        person: whose token it has.
        scopes: what for; everything where none is named.
        site: the server that it speaks with; one of its own where none is given.
    """

    def __init__(
        self,
        home: Home,
        person: str,
        *scopes: str,
        site: Site | None = None,
        start: Start = lambda *_: None,
    ) -> None:
        self.client = httpx.Client(
            transport=InProcess(site or make_site(home, start=start)),
            base_url="http://localhost/api/v1",
            headers={"authorization": f"Bearer {token_of(home, person, *scopes)}"},
        )

    def get(self, path: str, status: int = 200) -> Any:
        """Ask for something, and give what the JSON says."""
        answer = self.client.get(path)
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return answer.json()

    def send(self, path: str, key: str = "", **given: Any) -> httpx.Response:
        """Send something, and give the whole answer."""
        headers = {"idempotency-key": key} if key else {}
        return self.client.post(path, json=given, headers=headers)

    def post(self, path: str, status: int = 200, key: str = "", **given: Any) -> Any:
        """Send something, and give what the JSON says."""
        answer = self.send(path, key, **given)
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return answer.json()
