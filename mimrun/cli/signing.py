"""Options of commands that sign with a person's own SSH key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mimrun.app.decisions import PendingGate
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.signed.approvals import Counted, Word, choose_key, decide_signed
from mimrun.app.signed.openssh import Key, key_of
from mimrun.cli.terminal import safe_line
from mimrun.errors import GateError, InputError

SignOption: TypeAlias = Annotated[bool, typer.Option("--sign", help="Sign it with your SSH key or agent.")]
KeyOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        show_default=False,
        help="The SSH key to sign with. Default: your key in the agent, then the usual file in ~/.ssh.",
    ),
]


@dataclass(frozen=True, slots=True)
class Signing:
    """That a decision is to be signed.

    Arguments:
        key: with this key; None for the usual choice.
    """

    key: Key | None

    def decide(
        self, home: Home, pending: PendingGate, identity: Identity, word: Word, *, digest: str
    ) -> Counted:
        """Sign a decision, say with which key, and record it.

        Arguments:
            digest: what the person looked at; at least 12 characters of it.

        Raises:
            GateError: it is not what would run.
        """
        bare = digest.removeprefix("sha256:")
        if len(bare) < 12 or not pending.request.digest.removeprefix("sha256:").startswith(bare):
            raise GateError(
                f"the gate asks for {pending.request.digest[7:19]}, not {bare[:12]}: what would run has changed;"
                " look at it again before you decide"
            )
        key = choose_key(self.key, identity.person.id, home.settings)
        tell_key(key)
        return decide_signed(home, pending, identity, word, key)


def signing(key: Path | None, *, sign: bool) -> Signing | None:
    """Make one of what was typed.

    Raises:
        InputError: a key without --sign, or no such key.
    """
    if not sign:
        if key is not None:
            raise InputError("--key says with which key to sign; say --sign, too")
        return None
    return Signing(key_of(key) if key is not None else None)


def tell_key(key: Key) -> None:
    """Say on standard error which key signs, before a passphrase is asked for."""
    typer.echo(f"signing with {safe_line(key.where)}", err=True)
