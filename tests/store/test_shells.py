"""Sessions of people on hosts, in every store: one state each, pieces in order, nothing behind the end."""

from __future__ import annotations

import pytest
from builders.log_places import Place

from mimrun.errors import TamperError
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import Body, ShellClosed, ShellOpened, ShellRecorded
from mimrun.run.shell import Shell, Shells, key_of, shells_in
from tests.store.conftest import ACTOR

OPENED = ShellOpened(account="ops", address="db1", host_key="ssh-ed25519 X", columns=80, rows=24, reason="")
LINE = b'[0.1, "o", "x"]\n'


def draft(body: Body, *blobs: Blob) -> Draft:
    return Draft(ACTOR, body, inc="INC-1", target="db1", blobs=blobs)


def piece(shell: int, part: int) -> Draft:
    body = ShellRecorded(shell=shell, part=part, events=1, until_ms=100 * part)
    return draft(body, Blob("cast", LINE, "output"))


def test_a_session_is_followed_piece_by_piece_to_its_end(place: Place) -> None:
    with_shells = place.open(projectors=(Shells(),))
    try:
        first, second = (with_shells.append([draft(OPENED)])[0].seq for _ in range(2))
        with_shells.append([piece(first, 1)])
        with_shells.append([piece(first, 2), draft(ShellClosed(shell=first, ended="exit", dur_ms=300))])
        with_shells.append([piece(second, 1)])
        for late in (
            piece(first, 3),
            piece(second, 3),
            draft(ShellClosed(shell=first, ended="lost", dur_ms=1)),
        ):
            size = with_shells.head().size
            with pytest.raises(TamperError):
                with_shells.append([late])
            assert with_shells.head().size == size
        states = shells_in(with_shells.projections(Shells.name))
        assert [(one.seq, one.parts, one.ended) for one in states] == [(first, 2, "exit"), (second, 1, "")]
        assert Shell.model_validate_json(with_shells.projection(Shells.name, key_of(second))).open
        assert with_shells.rebuild()
    finally:
        with_shells.close()
