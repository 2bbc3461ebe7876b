"""The kill switch, as people pull and lift it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity
from mimrun.app.masking import masker_of, masking
from mimrun.app.persons import require_another, require_known
from mimrun.errors import (
    InputError,
    KillSwitchError,
    LogError,
    RefusedError,
    SettingsError,
    SignInError,
    StoreError,
)
from mimrun.log.entry import Draft
from mimrun.log.kinds import KillswitchLiftAgreed, KillswitchPulled
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.store import View
from mimrun.run.hold.killswitch import NEEDED, Latch, Switch, pulled_in, switch_in
from mimrun.settings import Settings

LIFTERS: Final = frozenset({"responder", "change_manager"})
"""Roles that may lift it; one of them is enough for each of the two people."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the kill switch stands.

    Arguments:
        switch: what the log says.
        file: what the latch file says; None where there is none.
        why: why nothing may begin, or "".
    """

    switch: Switch
    file: Switch | None
    why: str

    @property
    def pulled(self) -> bool:
        """Say whether everything stands still: where log and file disagree, it does."""
        return bool(self.why)

    @property
    def advice(self) -> str:
        """Say what to do next."""
        lift = "`mimrun kill-switch lift --reason ...`"
        if not self.pulled:
            return ""
        if self.switch.pulled and self.file is None:
            return (
                f"the log says pulled and the file is gone: it stays pulled; two people lift it with {lift}"
            )
        if self.file is not None and not self.switch.pulled:
            if _is_leftover(self.switch, self.file):
                return f"two people have lifted it, and the file is left over: {lift} removes it"
            return (
                f"the file was written while the log was not: it stays pulled; two people lift it with {lift}"
            )
        missing = NEEDED - len(self.switch.agreed)
        people = ", ".join(one.person for one in self.switch.agreed) or "nobody"
        return f"{people} agreed to lift it; {missing} more with {lift}"

    def as_json(self) -> dict[str, JsonValue]:
        """The standing for `--json`."""
        return {
            "pulled": self.pulled,
            "why": self.why,
            "log": self.switch.pulled > 0,
            "file": self.file is not None,
            "agreed": [one.person for one in self.switch.agreed] if self.switch.pulled else [],
            "needed": NEEDED,
            "next": self.advice,
        }


def standing_of(home: Home) -> Standing:
    """Look at the log and at the file."""
    latch, switch = Latch(home.settings.kill_switch), switch_in(home.store)
    why = latch.reason() or pulled_in(home.store)
    return Standing(switch, latch.read() if latch.there() else None, why)


def refuse_while_pulled(home: Home) -> None:
    """Let nothing begin while the switch is pulled.

    Raises:
        KillSwitchError: it is.
    """
    why = Latch(home.settings.kill_switch).reason() or pulled_in(home.store)
    if why:
        raise KillSwitchError(f"{why}; `mimrun kill-switch show` says how it is lifted")


def pull(settings: Settings, identity: Identity, reason: str) -> str:
    """Stop everything. Anybody may. The file is written first, so that it works without the log.

    A file that is there stays as it is, unless two people have lifted just that one, or nobody knows: then this
    is another pull, with a name of its own, which their word does not lift.

    Returns:
        why the log does not know of it, or "".

    Raises:
        InputError: there is no reason.
        StoreError: neither the file nor the log can be written.
    """
    if not reason.strip():
        raise InputError("say why, with --reason: everybody who is stopped by it will read that")
    reason = masker_of(settings).mask_text(reason)
    latch = Latch(settings.kill_switch)
    broken: StoreError | None = None
    name = latch.read().latch
    if not latch.there() or _may_be_lifted(settings, latch):
        try:
            name = latch.pull(identity.person.id, write_moment(utc_now()), reason)
        except StoreError as exc:
            broken = exc
    try:
        with open_home(settings) as home:
            body = KillswitchPulled(reason=reason, latch=name)
            home.store.append([Draft(identity.actor(), body)])
    except (LogError, SettingsError, SignInError) as exc:
        if broken is not None:
            raise broken from exc
        return str(exc)
    if broken is not None:
        return str(broken)
    return ""


def _may_be_lifted(settings: Settings, latch: Latch) -> bool:
    """Say whether the file may be one that two people have lifted, and that was not removed yet."""
    try:
        with open_home(settings) as home:
            return _is_leftover(switch_in(home.store), latch.read())
    except (LogError, SettingsError, SignInError):
        return True


def lift(home: Home, identity: Identity, reason: str) -> Standing:
    """Agree to lift the switch. When the second person has agreed in the log, the file is removed.

    The steps, in order:

    1. The person is known, has a role that may lift it, and gives a reason.
    2. A file that the log does not know of is made known to the log, so that two people have to agree.
    3. The agreement is recorded; a person counts once, under whatever account.
    4. Only where two have agreed, the file is removed, unless it was pulled anew meanwhile: what the log did not
       take is not lifted.

    Returns:
        how the switch stands now.

    Raises:
        RefusedError: the person may not, has agreed already, or the switch is not pulled.
        InputError: there is no reason.
        LogError: the log cannot be written; the switch stays pulled.
    """
    if not reason.strip():
        raise InputError("say why it may be lifted, with --reason")
    require_known(home, identity, "lift the kill switch", roles=LIFTERS)
    now, latch = standing_of(home), Latch(home.settings.kill_switch)
    if not now.pulled:
        raise RefusedError("the kill switch is not pulled")
    if now.file is not None and not now.switch.pulled:
        if _is_leftover(now.switch, now.file):
            latch.remove(now.file.latch)
            return standing_of(home)
        told = KillswitchPulled(reason=now.file.reason or now.why, latch=now.file.latch)
        home.store.append([Draft(identity.actor(), told)], guard=_not_pulled)
    pulled = switch_in(home.store)
    body = KillswitchLiftAgreed(pulled=pulled.pulled, reason=masking(home)(reason))
    seconds = partial(_may_agree, home, identity, pulled)
    home.store.append([Draft(identity.actor(), body)], guard=seconds)
    if not switch_in(home.store).pulled:
        latch.remove(pulled.latch)
    return standing_of(home)


def _is_leftover(switch: Switch, file: Switch) -> bool:
    """Say whether two people have lifted just that latch, and only removing the file is left."""
    lifted = not switch.pulled and len(switch.agreed) >= NEEDED
    return bool(file.latch) and switch.latch == file.latch and lifted


def _not_pulled(view: View) -> None:
    if switch_in(view).pulled:
        raise RefusedError("somebody else has just agreed; look again with `mimrun kill-switch show`")


def _may_agree(home: Home, identity: Identity, seen: Switch, view: View) -> None:
    now = switch_in(view)
    if now.pulled != seen.pulled:
        raise RefusedError("the kill switch was lifted or pulled meanwhile; look again")
    for one in now.agreed:
        refused = "has agreed already; another person must agree, too"
        require_another(home, identity, one.names, refused)
