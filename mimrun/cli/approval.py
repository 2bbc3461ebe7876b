"""`mimrun approval`: ask for an approval in a text, sign it on any machine, bring it back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.signed.approvals import (
    Word,
    ask_for,
    choose_key,
    import_signed,
    pack,
    sign_word,
    unpack,
)
from mimrun.app.signed.evidence import export_pair
from mimrun.app.signed.openssh import key_of
from mimrun.cli.approval_view import is_unaltered, readable, request_text
from mimrun.cli.decide import ReasonOption, tell_verdict, verdict_after
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, YesOption, group, settings_of
from mimrun.cli.signing import KeyOption, tell_key
from mimrun.cli.terminal import ask as ask_person
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import GateError, InputError
from mimrun.gate.armour import LARGEST_TEXT, unarmour
from mimrun.gate.asking import Asking
from mimrun.log.moment import utc_now, write_moment

MessageArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The message, saved as a file; - reads it from standard input.")
]
_NO_TTY: Final = "nobody is there to ask: look at it, then give its digest with --digest"


def request(
    run: RunArgument = "latest",
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a waiting gate asks, as a message for somebody who decides elsewhere.

    It holds the targets, the exact commands, their undo and the digest, for people and for `mimrun approval sign`.
    Send it by chat, mail or on a stick: it needs no secrecy, and whoever changes it is found out.
    """
    with open_home(settings_of(home)) as opened:
        asking = ask_for(opened, run)
    text = request_text(asking)
    if as_json:
        facts = {"run": asking.run, "gate": asking.gate, "digest": asking.segment.digest}
        print_json({**facts, "expires": write_moment(asking.expires), "text": text})
        return
    typer.echo(text, nl=False)


def sign(
    file: MessageArgument,
    *,
    reject: Annotated[bool, typer.Option("--reject", help="Refuse it; say why with --reason.")] = False,
    freeze: Annotated[
        bool,
        typer.Option("--freeze-override", help="Allow it although a calendar is closed, and nothing else."),
    ] = False,
    reason: ReasonOption = "",
    digest: Annotated[
        str | None,
        typer.Option(
            "--digest", metavar="HEX", help="The digest that you looked at; at least 12 characters."
        ),
    ] = None,
    key: KeyOption = None,
    person: Annotated[
        str,
        typer.Option(
            "--as", metavar="PERSON", help="Your id in people.yaml there. Default: whose key it is."
        ),
    ] = "",
    yes: YesOption = False,
) -> None:
    """Sign a message of `mimrun approval request`, here, where there is no log.

    Shows exactly what is signed, made anew from the message's data. Prints the signed approval: send it back; anybody
    may import it, and it counts in the name of whoever's key this is.
    """
    asking = _shown(_read(file))
    _agree(asking, digest, ask=not yes and digest is None, from_stdin=file == "-", reject=reject)
    chosen = choose_key(key_of(key) if key else None, person, settings_of(None))
    tell_key(chosen)
    word = Word("rejected" if reject else "approved", reason, "freeze_override" if freeze else "approval")
    proof = sign_word(asking, word, chosen, person=person, at=utc_now())
    said = f"{word.decision}: {safe_line(asking.title)}, {asking.run}, digest {asking.segment.digest[7:19]}"
    typer.echo(f"{said}\n{pack(proof)}", nl=False)


def _shown(message: str) -> Asking:
    """Show on standard error what a message asks, made anew, and warn where its text says something else."""
    asking = Asking.decode(unarmour("APPROVAL REQUEST", message))
    err = console(stderr=True)
    if not is_unaltered(asking, message):
        said = "warning: what is written in this message is not what would be signed. It was changed, or cut;"
        err.print(Text(f"{said}\ngo by what is shown here:", "red"))
    err.print(Text(readable(asking)), end="")
    return asking


def bring(
    file: MessageArgument,
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a signed approval that somebody sent. It counts for whoever's key signed it, not for who brings it."""
    message, settings = _read(file), settings_of(home)
    proof = unpack(message)
    with open_home(settings) as opened:
        who = identify(opened.people(), claimed).person.id
        counted = import_signed(opened, proof, brought_by=who)
        verdict, taken = verdict_after(settings, opened, counted.statement.run)
    said = f"{counted.statement.decision} by {counted.person.id} as {counted.role}, signed with {counted.key}"
    tell_verdict(settings, counted.statement.run, said, verdict, taken=taken, as_json=as_json)


def export(
    entry: Annotated[int, typer.Argument(metavar="ENTRY", help="The number of the entry with the decision.")],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="The folder to make; it must not be there yet."),
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a signed decision out as two files that OpenSSH alone can check, and say how."""
    with open_home(settings_of(home)) as opened:
        pair = export_pair(opened, entry, output)
    if as_json:
        print_json(
            {"entry": entry, "person": pair.person, "statement": str(pair.statement), "check": pair.check}
        )
        return
    typer.echo(f"{pair.statement}\n{pair.signature}\ncheck: {safe_line(pair.check, 1000)}")


def _agree(asking: Asking, digest: str | None, *, ask: bool, from_stdin: bool, reject: bool) -> None:
    """See that whoever signs has looked at it: they say so, or name its digest."""
    if digest is not None:
        bare = digest.removeprefix("sha256:")
        if len(bare) < 12 or not asking.segment.digest.removeprefix("sha256:").startswith(bare):
            raise GateError(f"this asks for {asking.segment.digest[7:19]}, not {bare[:12]}; look at it again")
    if not ask:
        return
    if from_stdin or not sys.stdin.isatty():
        raise InputError(f"{_NO_TTY} {asking.segment.digest[7:19]}")
    if not ask_person("Refuse exactly this?" if reject else "Agree to exactly this?"):
        typer.echo("nothing was signed", err=True)
        raise typer.Exit(7)


def _read(file: str) -> str:
    """Read a message, whatever a mail program or a chat made of its characters.

    Raises:
        InputError: it cannot be read, or is far too large.
    """
    try:
        if file == "-":
            data = sys.stdin.buffer.read(LARGEST_TEXT + 1)
        else:
            with os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
                data = opened.read(LARGEST_TEXT + 1) or b""
    except (OSError, ValueError) as exc:
        raise InputError(f"{file}: cannot be read: {exc}") from exc
    if len(data) > LARGEST_TEXT:
        raise InputError(f"{file}: has more than {LARGEST_TEXT} bytes; give only the message")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if wide else "utf-8", "replace")


COMMANDS = {
    "approval": group(
        "approval",
        "Ask for an approval in a message, sign it on any machine, and bring it back.",
        {
            "request": (request, "mimrun approval request latest > please-approve.txt"),
            "sign": (sign, "mimrun approval sign please-approve.txt --key ~/.ssh/id_ed25519 > approved.txt"),
            "import": (bring, "mimrun approval import approved.txt"),
            "export": (export, "mimrun approval export 118 -o approval-118"),
        },
    ),
}
