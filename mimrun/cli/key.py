"""`mimrun key`: which keys sign the log, and changing them."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.key_view import KeysView, view_keys
from mimrun.app.keys import (
    Rotated,
    install,
    read_certificate,
    read_request,
    request_certificate,
    retire,
    root_key,
    rotate,
    trust,
)
from mimrun.cli.options import AsOption, HomeOption, JsonOption, YesOption, group, settings_of
from mimrun.cli.terminal import ask, console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.log.proof.key import RingKey
from mimrun.log.proof.key_file import is_sealed, make_key, read_public
from mimrun.log.proof.note import SigningKey

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="FILE", show_default=False, help="The root key, to certify the new key with."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")]


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the keys of the log: for which sizes each is good, who certified it, and which sign here.

    A key signs checkpoints of the log from one size to another; what it signs outside of that is refused. Ends
    with 6 where the last checkpoint is not right.
    """
    with open_home(settings_of(home)) as opened:
        view = view_keys(opened)
    if as_json:
        print_json(view.as_json())
    else:
        _print(view)
    if view.last and view.last.fault:
        raise typer.Exit(6)


def root(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to make; never written over.")],
    *,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Who certifies, such as example.org/root.")
    ] = "mimrun-root",
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Do not seal it: whoever has the file has the key.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a root key: it certifies the keys that sign the log, and is kept off the machines that do.

    Do this on a machine without a network, and keep the file on a medium in a safe. Its public part is what
    auditors and `mimrun key trust` are given.
    """
    passphrase = "" if no_passphrase else _new_passphrase()
    try:
        public = make_key(out, name, passphrase)
    except ValueError as exc:
        raise InputError(f"--name {name}: {exc}") from exc
    if as_json:
        print_json({"file": str(out), "vkey": public.vkey, "keyid": public.keyid, "sealed": bool(passphrase)})
        return
    typer.echo(f"made the root key {out}" + ("" if passphrase else ", which is not sealed"))
    typer.echo(f"its public part, for `mimrun key trust` and for auditors:\n{public.vkey}")


def request(
    key: Annotated[
        str, typer.Argument(metavar="[KEYID]", show_default=False, help="Which key; the newest if left out.")
    ] = "",
    *,
    new: Annotated[
        bool, typer.Option("--new", help="Make a new key first; it counts once its certificate is installed.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Print what the root key is to certify: a key that signs here, and from which size on."""
    with open_home(settings_of(home)) as opened:
        sys.stdout.write(request_certificate(opened, key, new=new))


def certify(
    file: Annotated[Path, typer.Argument(metavar="REQUEST", help="What `mimrun key request` printed.")],
    root: Annotated[Path, typer.Option("--root", metavar="FILE", help="The root key.")],
    yes: YesOption = False,
) -> None:
    """Certify a key with the root key, and print the certificate. Needs nothing but the two files.

    Shows first which key of which log it is. Compare it with what `mimrun key show` says on the machine that
    signs: whoever can change the request can have another key certified.
    """
    asked = read_request(file)
    public = read_public(root)
    said = typer.echo
    said(f"the root key   {safe_line(str(public))}", err=True)
    said(f"certifies      {safe_line(asked.key.vkey)}", err=True)
    said(f"for the log    {safe_line(asked.key.name)}, from size {asked.from_size} on", err=True)
    if not yes and not ask("Is this the key that signs that log?"):
        typer.echo("nothing was certified", err=True)
        raise typer.Exit(5)
    sys.stdout.write(asked.certify(_open_root(root)))


def install_certificate(
    file: Annotated[Path, typer.Argument(metavar="CERT", help="What `mimrun key certify` printed.")],
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a certificate in the log, for the key that it is for."""
    certificate = read_certificate(file)
    with open_home(settings_of(home)) as opened:
        one = install(opened, identify(opened.people(), claimed), certificate)
    if as_json:
        print_json({"keyid": one.key.keyid, "from_size": one.from_size, "certified": one.certified})
        return
    typer.echo(
        f"the certificate of key {one.key.keyid} is in the log; it is good from size {one.from_size} on"
    )
    if not one.certified:
        typer.echo(
            "next: no root key is pinned here yet, so nobody here heeds the certificate: `mimrun key trust VKEY`, with the"
            " root key as whoever made it gives it to you"
        )


def rotate_key(
    root: RootOption = None,
    *,
    reason: ReasonOption = "planned change of keys",
    anew: Annotated[
        bool,
        typer.Option(
            "--anew",
            help="After a backup was restored: the new key does not go on from what the old one has signed.",
        ),
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new key and let it take the place of the one that signs here.

    Both sign the checkpoint at which they change over, and the old one is retired there and deleted. A log that
    has no key gets its first one. Ends with 3 where no such checkpoint came in time: then both go on signing.
    """
    key = _open_root(root) if root else None
    with open_home(settings_of(home)) as opened:
        came = rotate(opened, identify(opened.people(), claimed), reason, key, anew=anew)
    _tell_rotated(came, as_json=as_json)
    if came.waiting:
        raise typer.Exit(3)


def retire_key(
    key: Annotated[str, typer.Argument(metavar="KEYID", help="Which key, as `mimrun key show` has it.")],
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a key sign nothing larger than the log is now. Where it signs here, its private part is deleted.

    For a stolen key: first `mimrun key rotate`, which retires the stolen one.
    """
    with open_home(settings_of(home)) as opened:
        one = retire(opened, identify(opened.people(), claimed), key, reason)
    if as_json:
        print_json({"keyid": one.key.keyid, "to_size": one.to_size})
        return
    typer.echo(f"key {one.key.keyid} is retired: it is good for no tree larger than {one.to_size}")


def trust_root(
    key: Annotated[
        str, typer.Argument(metavar="VKEY", help="The root key as `mimrun key root` printed it, or its file.")
    ],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also where another one is pinned, or it certified no key in use.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pin the root key for this home: only keys that it certified are believed from now on.

    Get it from whoever made it, not from the log. It is a file in the home and no entry: the log cannot say
    itself whom to believe about it.
    """
    with open_home(settings_of(home)) as opened:
        public = trust(opened, key, force=force)
    if as_json:
        print_json({"vkey": public.vkey})
        return
    typer.echo(f"pinned the root key {safe_line(str(public))}: only keys that it certified are believed here")


def _tell_rotated(came: Rotated, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "keyid": came.new.key.keyid,
                "vkey": came.new.key.vkey,
                "from_size": came.new.from_size,
                "retired": list(came.retired),
                "size": came.size,
                "waiting": list(came.waiting),
            }
        )
    else:
        typer.echo(f"key {came.new.key.keyid} signs the log from size {came.new.from_size} on")
        for keyid in came.retired:
            where = (
                f"at the checkpoint of size {came.size}, which both signed"
                if came.size
                else "without handing over"
            )
            typer.echo(f"key {keyid} is retired {where}; its private part is deleted here")
        for keyid in came.waiting:
            typer.echo(
                f"key {keyid} still signs: no checkpoint came that both have signed; see `mimrun key show`, then "
                f"`mimrun key retire {keyid}`"
            )


def _print(view: KeysView) -> None:
    out = console()
    certified = (
        f"certified by {view.ring.root}" if view.ring.root else "the first key is believed on first use"
    )
    out.print(Text.assemble(("log        ", "dim"), safe_line(f"{view.ring.origin}, {view.size} entries")))
    out.print(Text.assemble(("believed   ", "dim"), safe_line(certified)))
    out.print(Text.assemble(("signer     ", "dim"), safe_line(view.signer)))
    if view.fault:
        out.print(Text.assemble(("           ", ""), (safe_line(view.fault, 500), "bold red")))
    out.print(Text.assemble(("checkpoint ", "dim"), *_last(view)))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("KEY", "FROM SIZE", "TO SIZE", "ENTRY", "SIGNS HERE", "CERTIFIED"):
        table.add_column(head, overflow="fold")
    for one in view.ring.keys:
        to = "in use" if one.to_size is None else str(one.to_size)
        here = "yes" if one.key.keyid in view.here else "no"
        table.add_row(
            one.key.keyid, str(one.from_size), to, str(one.announced), here, safe_line(_word(one, view))
        )
    if view.ring.keys:
        out.print(table)
    else:
        out.print("the log has no key; make one with `mimrun key rotate`")
    for keyid in view.unannounced:
        out.print(Text(f"key {keyid} is not in the log yet: what it signs counts for nothing", "yellow"))
    for one in view.ring.open_keys():
        out.print(Text(safe_line(one.key.vkey), "dim"))


def _last(view: KeysView) -> list[tuple[str, str]]:
    last = view.last
    if last is None:
        return [("none yet", "yellow")]
    if last.fault:
        return [(safe_line(last.fault, 500), "bold red")]
    behind = view.size - last.size
    rest = f"; {behind} entries since" if behind else ""
    return [(f"size {last.size}, root {last.root[:16]}…, signed by {', '.join(last.signers)}{rest}", "")]


def _word(one: RingKey, view: KeysView) -> str:
    if view.ring.root is None:
        return "not checked: no root key pinned" if one.certificate else "no"
    return f"by {view.ring.root.keyid}" if one.certified else f"no: {one.doubt}"


def _open_root(path: Path) -> SigningKey:
    passphrase = ""
    if is_sealed(path):
        passphrase = _prompt(f"Passphrase of {path}")
    return root_key(path, passphrase)


def _new_passphrase() -> str:
    first = _prompt("Passphrase for the root key")
    if len(first) < 8:
        raise InputError(
            "the passphrase has less than 8 characters; several words are better, or --no-passphrase"
        )
    if _prompt("The same again") != first:
        raise InputError("the two passphrases differ; nothing was made")
    return first


def _prompt(question: str) -> str:
    """Ask without showing what is typed; at the terminal, wherever the output goes."""
    try:
        return getpass(f"{question}: ", stream=sys.stderr)
    except EOFError:
        raise KeyboardInterrupt from None


COMMANDS = {
    "key": group(
        "key",
        "Show and change the keys that sign the log, and certify them.",
        {
            "show": (show, "mimrun key show --json"),
            "root": (root, "mimrun key root --out /media/safe/root.pem --name example.org/root"),
            "request": (request, "mimrun key request > request"),
            "certify": (certify, "mimrun key certify --root /media/safe/root.pem request > certificate"),
            "install": (install_certificate, "mimrun key install certificate"),
            "rotate": (rotate_key, 'mimrun key rotate --reason "once a quarter"'),
            "retire": (retire_key, 'mimrun key retire 1f2e3d4c --reason "its machine was stolen"'),
            "trust": (trust_root, "mimrun key trust example.org/root+5c0ff1ce+AbCd..."),
        },
    )
}
