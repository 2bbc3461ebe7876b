"""Identity: who acts, and how much that is worth.

Whoever has signed in, with a token or with OpenID Connect, is who that says. Without, the operating system knows the
account, and that is all the proof there is. A person with several accounts is one person. `--as` names somebody else
openly: the log records that it was only claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mimrun.app.home import operating_system_user
from mimrun.app.sign_in import door, is_looking
from mimrun.errors import SettingsError, SignInError
from mimrun.gate.people import CLAIMED, People, Person, SignedIn
from mimrun.gate.role import AUDITOR
from mimrun.log.entry import Actor

OPERATING_SYSTEM = "os-user"
"""The operating system says so."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who acts.

    Arguments:
        person: known from the people file, or made from the account with no role.
        auth: `os-user`; `claimed:ACCOUNT` with the account that the operating system knows; `token:NAME`;
            `oidc:ISSUER`.
        behalf: names (`mimrun.gate.people.acted`) of those for whom it is done, where that is somebody else.
    """

    person: Person
    auth: str
    behalf: frozenset[str] = frozenset()

    def actor(self, via: str = "") -> Actor:
        """Give the actor as the log records it; without `via`, as coming through the door that they came through."""
        return Actor("person", self.person.id, via or door(), self.auth)


def identify(people: People, claimed: str | None) -> Identity:
    """Say who acts.

    Arguments:
        people: as an opened home gives them, with whoever has signed in.
        claimed: the option `--as`, or None.

    Raises:
        SettingsError: `--as` names nobody the people file knows.
        SignInError: whoever acts has left, looks only, or has signed in as somebody else than `--as` names.
    """
    signed = people.signed_in
    identity = _of_system(people, claimed) if signed is None else _of_signed(people, signed, claimed)
    person = identity.person
    if not person.active:
        raise SignInError(f"{person.id} is not active any more, and does nothing here")
    if AUDITOR in person.roles and not is_looking():
        raise SignInError(f"{person.id} is an auditor, who looks at everything and does nothing else")
    return identity


def _of_signed(people: People, signed: SignedIn, claimed: str | None) -> Identity:
    person = people.person(signed.person)
    if claimed is not None and (not people.knows(claimed) or people.person(claimed).id != person.id):
        way = (
            "take the token away"
            if signed.auth.startswith("token:")
            else "end the session with `mimrun logout`"
        )
        raise SignInError(
            f"--as {claimed}: {person.id} has signed in ({signed.auth}); leave --as away, or {way}"
        )
    # What is launched with a token that another has made is launched for them, too: they do not approve it.
    return Identity(person, signed.auth, frozenset({signed.maker} if signed.maker else ()))


def _of_system(people: People, claimed: str | None) -> Identity:
    account = operating_system_user()
    if claimed is None:
        person = people.person(account) if people.knows(account) else Person(account, account)
        return Identity(person, OPERATING_SYSTEM)
    try:
        person = people.person(claimed)
    except SettingsError as exc:
        raise SettingsError(f"--as {claimed}: {exc}") from exc
    own = people.knows(account) and people.person(account).id == person.id
    return Identity(person, OPERATING_SYSTEM if own else f"{CLAIMED}{account}"[:128])
