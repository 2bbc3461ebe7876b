"""Accepting a log that is not the one that was seen here: a backup that was put back, or another log."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.app.checkpoints import place_of
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.persons import require_known
from mimrun.app.signing import open_signer
from mimrun.errors import InputError, MimrunError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds_proof import LogAccepted
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.proof.note import read_checkpoint, read_note
from mimrun.log.proof.seen import Leaves, Seen, Sight, difference, look_at, seen_before
from mimrun.log.proof.signer import FileSigner
from mimrun.settings import Settings


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was accepted.

    Arguments:
        before: what was seen.
        why: in which way the log differs from that.
        entry: the number of the entry that says so.
        signs: whether the keys that sign here can go on with this log.
    """

    before: Sight
    why: str
    entry: int
    signs: bool

    def as_json(self) -> dict[str, JsonValue]:
        """What was accepted, for `--json`."""
        return {
            "seen": {"log": self.before.log, "size": self.before.size, "at": self.before.at},
            "difference": self.why,
            "entry": self.entry,
            "signs": self.signs,
        }


def accept_log(settings: Settings, claimed: str | None, reason: str) -> Accepted | None:
    """Take the log as it is from now on, and record that somebody said so, and what was seen before.

    Arguments:
        claimed: the option `--as`.
        reason: why it is right.

    Returns:
        None where the log goes on from what was seen, so that there is nothing to accept.

    Raises:
        InputError: there is no reason.
        GateError: whoever acts is not known.
        RefusedError: a key that signs here was put back with an old memory of what it has signed.
    """
    if not reason.strip():
        raise InputError("say why with --reason: what was lost stays in question for whoever reads the log")
    seen, place = Seen(settings.seen_folder), place_of(settings)
    with open_home(settings, watched=False) as home:
        identity = identify(home.people(), claimed)
        require_known(home, identity, "accept a log that is not the one that was seen")
        sight = seen_before(seen, place, home.store)
        why = "" if sight is None else difference(sight, home.store)
        if sight is None or not why:
            return None
        why += _lost_as_well(seen, sight, home.store)
        _refuse_old_memory(settings, home.store.log, sight)
        body = LogAccepted(seen_size=sight.size, seen_leaf=sight.leaf, reason=reason)
        (entry,) = home.store.append([Draft(identity.actor(), body)])
        note = home.store.latest_checkpoint()
        seen.begin_anew(place, look_at(home.store, write_moment(utc_now()), note.note if note else ""))
        return Accepted(sight, why, entry.seq, _goes_on(settings, home.store.log, entry.seq))


def _lost_as_well(seen: Seen, sight: Sight, log: Leaves) -> str:
    """Say what is lost of the log itself, where another one was seen in its place."""
    own = seen.last(log.log, log.leaf_at(1))
    if own is None or (own.log, own.first) == (sight.log, sight.first):
        return ""
    lost = difference(own, log)
    return f"; of this log itself, {own.size} entries were seen at {own.at}: {lost}" if lost else ""


def _refuse_old_memory(settings: Settings, origin: str, sight: Sight) -> None:
    """Refuse to go on with a key that was put back together with the log, and so forgot what it has signed.

    It would sign a second history of the same sizes. The checkpoint that was seen says what it has forgotten.
    """
    if settings.signer or not sight.note:
        return
    note = read_note(sight.note)
    size = read_checkpoint(note.text).size
    remembered = FileSigner(settings.signer_folder, origin).sizes()
    for line in note.signatures:
        if line.name == origin and remembered.get(line.keyid, size) < size:
            raise RefusedError(
                f"key {line.name}+{line.keyid} has signed a log of {size} entries, and its memory in"
                f" {settings.signer_folder} says {remembered[line.keyid]}: it was put back with the log, and would sign"
                " a second history. Move that folder away, accept the log, then `mimrun key rotate --anew`"
            )


def _goes_on(settings: Settings, origin: str, size: int) -> bool:
    """Whether the keys that sign here have signed no more than this log has. The leaves decide in the end."""
    try:
        signer = open_signer(settings, origin)
        return signer is None or signer.signed_size() < size
    except MimrunError:
        return False
