"""Passwords: setting and removing them, and signing in with one at the server."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.server.guesses import Guesses
from mimrun.app.server.password_file import Kept, changing, read_passwords
from mimrun.errors import ChooseAnotherError, InputError, SignInError, TooManyGuessesError
from mimrun.gate.password import LONGEST, LastChange, PasswordChanges, check_new, normal
from mimrun.gate.people import CLAIMED, Person, SignedIn
from mimrun.gate.people_file import load_people
from mimrun.gate.role import ADMINISTRATOR
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import PasswordChanged
from mimrun.log.moment import read_moment, write_moment
from mimrun.secret import Secret

AUTH: Final = "password"
"""How the log names whoever has signed in with one."""
ONCE_LASTS: Final = timedelta(days=3)
"""So long a password that somebody else has made is good to choose an own one."""
AT_ONCE: Final = 2
"""So many are compared at once: each takes 64 MiB and a part of a second, which whoever guesses is to pay for."""
WAITS_S: Final = 3.0
WAITING: Final = 4
"""So many wait for that. Each holds a thread of the server, which has 40 for everybody's pages."""
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_BUSY: Final = "too many people sign in at this moment; try again"
_WRONG: Final = "the name or the password is wrong"


@dataclass(frozen=True, slots=True)
class PasswordView:
    """A person and their password.

    Arguments:
        state: `none`, `set`, `once` where it is to be replaced at the next signing in, `over` where that is too late.
    """

    person: str
    state: str
    changed_at: str
    changed_by: str


class Passwords:
    """Compares passwords with what is kept of them. One for each server.

    Arguments:
        hasher: as strong as the machine can bear.
        guesses: how often may be tried.
    """

    def __init__(self, hasher: PasswordHasher | None = None, guesses: Guesses | None = None) -> None:
        self._hasher, self._guesses = hasher or PasswordHasher(), guesses or Guesses()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._queue = threading.BoundedSemaphore(AT_ONCE + WAITING)

    @cached_property
    def _nothing(self) -> str:
        """What is compared with where there is nothing to compare with, so that the answer takes as long."""
        return self._hasher.hash(secrets.token_urlsafe(16))

    def sign_in(self, home: Home, person: str, password: Secret, address: str) -> SignedIn:
        """Say who signs in with a password.

        Whoever does not get in learns nothing: no such person, no password, a wrong one, one that is over, and somebody
        who has left get the same answer after the same time.

        Raises:
            TooManyGuessesError: there were too many tries from this address, or too many people try at this moment.
            ChooseAnotherError: somebody else has made this password; it is right.
            SignInError: it is wrong.
        """
        known, kept, changed = self._known(home, person, password, address)
        if kept.once:
            raise ChooseAnotherError("choose a password of your own now")
        self._renew(home, known, kept, password)
        return SignedIn(known.id, AUTH, changed=changed)

    def choose(self, home: Home, person: str, old: Secret, new: Secret, address: str) -> SignedIn:
        """Let somebody who has a password choose another, and sign them in.

        Raises:
            TooManyGuessesError, SignInError: as for `sign_in`.
            InputError: the new one cannot be chosen.
        """
        known, kept, _ = self._known(home, person, old, address)
        check_new(new.reveal(), known.id)
        if normal(new.reveal()) == normal(old.reveal()):
            raise InputError("this is the password that you have; choose another")
        actor = Actor("person", known.id, "web", AUTH)
        changed = keep(home, actor, known.id, Kept(hash=self.hash(new)), instead_of=kept)
        return SignedIn(known.id, AUTH, changed=changed)

    def hash(self, password: Secret) -> str:
        """Give what is kept of a password."""
        with self._room:
            return self._hasher.hash(normal(password.reveal()))

    def _known(self, home: Home, name: str, password: Secret, address: str) -> tuple[Person, Kept, str]:
        """Say whose password it is, what is kept of it, and when it had last changed."""
        with self._queued():
            self._guesses.count(name, address)
            nothing = self._nothing  # made the first time, whoever comes
            person = load_people(home.settings.people).by_id.get(name.strip().lower())
            # Also where there is nobody: it may be that it cannot be read. Nobody changes it at that moment.
            with changing(home.settings) as file:
                kept = file.passwords.get(person.id) if person is not None else None
                changed = last_change(home, person.id if person is not None else "").at
            # 1. Always compare, with something.
            right = self._fits(kept.hash if kept is not None else nothing, password)
        # 2. Then all the rest at once.
        if person is None or kept is None or not right or not person.active or _is_over(kept, home.clock()):
            raise SignInError(_WRONG)
        self._guesses.forgive(name, address)
        return person, kept, changed

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            raise TooManyGuessesError(_BUSY)
        try:
            yield
        finally:
            self._queue.release()

    def _fits(self, hash_: str, password: Secret) -> bool:
        text = password.reveal()
        if len(text) > LONGEST:
            text = ""
        if not self._room.acquire(timeout=WAITS_S):
            raise TooManyGuessesError(_BUSY)
        try:
            return self._hasher.verify(hash_, normal(text))
        except (VerificationError, InvalidHashError):
            return False
        finally:
            self._room.release()

    def _renew(self, home: Home, person: Person, kept: Kept, password: Secret) -> None:
        """Keep a stronger hash of a password, where what is kept was made with weaker parameters. It stays the same."""
        if not self._hasher.check_needs_rehash(kept.hash):
            return
        stronger = self.hash(password)
        with changing(home.settings) as file:
            if file.passwords.get(person.id) == kept:
                file.passwords[person.id] = kept.model_copy(update={"hash": stronger})
                file.prepare()
                file.commit()


def set_password(
    home: Home, identity: Identity, password: Secret, passwords: Passwords | None = None
) -> None:
    """Set one's own password.

    Raises:
        SignInError: who acts is only claimed, unknown, or acts with a token.
        InputError: it cannot be chosen.
    """
    person = _may_change(home, identity, identity.person.id)
    check_new(password.reveal(), person.id)
    keep(home, identity.actor(), person.id, Kept(hash=(passwords or Passwords()).hash(password)))


def make_password(
    home: Home, identity: Identity, person: str, passwords: Passwords | None = None
) -> tuple[Secret, datetime]:
    """Make a password for somebody else, with which they choose an own one; gives it, and until when it is good.

    Raises:
        SignInError: who acts is no administrator, only claimed, or acts with a token.
        SettingsError: nobody knows the person.
    """
    owner = _may_change(home, identity, person)
    if not owner.active:
        raise SignInError(f"{owner.id} is not active any more")
    made = Secret("-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4)))
    until = home.clock() + ONCE_LASTS
    kept = Kept(hash=(passwords or Passwords()).hash(made), once=True, until=write_moment(until))
    keep(home, identity.actor(), owner.id, kept)
    return made, until


def remove_password(home: Home, identity: Identity, person: str) -> None:
    """Take somebody's password away; their sessions with it are over.

    Raises:
        SignInError: it is somebody else's, and who acts is no administrator.
        InputError: there is none.
    """
    known = home.people().by_id
    # Also of somebody who is not known any more.
    id_ = home.people().person(person).id if home.people().knows(person) else person
    _may_change(home, identity, id_, gone=id_ not in known)
    keep(home, identity.actor(), id_, None)


def list_passwords(home: Home) -> list[PasswordView]:
    """Say of everybody who is known, or has a password, how that stands."""
    kept, now = read_passwords(home.settings), home.clock()
    changes = {
        key: LastChange.model_validate_json(state)
        for key, state in home.store.projections(PasswordChanges.name)
    }
    views = []
    for person in sorted({*home.people().by_id, *kept}):
        one, last = kept.get(person), changes.get(person, LastChange())
        state = "none" if one is None else "over" if _is_over(one, now) else "once" if one.once else "set"
        views.append(PasswordView(person, state, last.at, last.by))
    return views


def last_change(home: Home, person: str) -> LastChange:
    """Say when somebody's password last changed."""
    return LastChange.model_validate_json(home.store.projection(PasswordChanges.name, person))


def keep(home: Home, actor: Actor, person: str, kept: Kept | None, instead_of: Kept | None = None) -> str:
    """Put what is kept of a password into the file, and that it changed into the log; gives when.

    The log comes first: a session of the former password must not outlive it.

    Arguments:
        instead_of: what was kept of the password that was compared; None where none was.

    Raises:
        SignInError: it has changed since it was compared.
        InputError: one is to be removed that is not there.
        SettingsError: the file cannot be written; nothing is recorded then.
        StoreError: the log cannot be written; nothing is changed then.
    """
    with changing(home.settings) as file:
        if instead_of is not None and file.passwords.get(person) != instead_of:
            raise SignInError(_WRONG)
        if kept is not None:
            file.passwords[person] = kept
        elif file.passwords.pop(person, None) is None:
            raise InputError(f"{person} has no password")
        file.prepare()
        entry = home.store.append([Draft(actor, PasswordChanged(person=person, removed=kept is None))])[-1]
        file.commit()
    return write_moment(entry.ts)


def _is_over(kept: Kept, now: datetime) -> bool:
    try:
        return bool(kept.until) and now >= read_moment(kept.until)
    except ValueError:
        return True


def _may_change(home: Home, identity: Identity, whose: str, *, gone: bool = False) -> Person:
    """See that somebody may change a password, and give whose it is."""
    people = home.people()
    if identity.auth.startswith(CLAIMED):
        raise SignInError(
            f"{identity.person.id} is only claimed at this account; to change a password one signs in"
        )
    if home.signed_in is not None and home.signed_in.scopes is not None:
        raise SignInError("a token changes no password: it would make itself more than it is")
    me = people.by_id.get(identity.person.id)
    if me is None:
        raise SignInError(f"{identity.person.id} is not in {people.file}; to change a password one must be")
    owner = Person(whose, whose) if gone else people.person(whose)
    if owner.id != me.id and ADMINISTRATOR not in me.roles:
        raise SignInError(
            f"{me.id} cannot change the password of {owner.id}; {owner.id} can, or somebody with role {ADMINISTRATOR}"
        )
    return owner
