"""`mimrun claim | release | hand-over | check | attest | confirm | dispute | card`: work that people do by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.text import Text

from mimrun.app.attachments import Attachment, read_attachments
from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.manual_steps import (
    Attestation,
    PendingManual,
    attest,
    claim,
    confirm,
    dispute,
    hand_over,
    pending_manual,
    release,
)
from mimrun.app.manual_steps import check as tick
from mimrun.app.masking import masker_of
from mimrun.app.runs import find_run, load_plan
from mimrun.app.shown.manual import manual_json
from mimrun.cli.decide import ReasonOption, go_on_with, told
from mimrun.cli.manual_card import card_of
from mimrun.cli.manual_view import print_manual
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, command, settings_of
from mimrun.cli.terminal import console, print_json
from mimrun.errors import InputError
from mimrun.run.record.manual_state import ManualStatus
from mimrun.runbook.duration import parse_duration

EvidenceOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "-e", "--evidence", metavar="NAME=VALUE", help="What the step asks for. May be given several times."
    ),
]
FileOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--file", metavar="NAME=PATH", help="A file that it asks for. May be given several times."),
]
ActiveOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--active", metavar="TIME", help="How long it took you: 12m. Default: since you claimed it."
    ),
]


def claim_step(
    run: RunArgument = "latest",
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that you do the manual step a run waits for, so that nobody else begins it.

    Where somebody else has taken it up, give --reason to take it from them.
    """
    with open_home(settings_of(home)) as opened:
        pending = claim(opened, run, identify(opened.people(), claimed), reason)
        _told_of(opened, pending, as_json=as_json)


def release_step(
    run: RunArgument = "latest",
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that you do not do the manual step any more; somebody else can take it up."""
    with open_home(settings_of(home)) as opened:
        pending = release(opened, run, identify(opened.people(), claimed), reason)
        _told_of(opened, pending, as_json=as_json)


def hand_step_over(
    run: RunArgument = "latest",
    *,
    to: Annotated[str, typer.Option("--to", metavar="PERSON", help="Whose it is from now on.")],
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand the manual step to somebody else, and say how far it is. Their time begins when they claim it."""
    with open_home(settings_of(home)) as opened:
        pending = hand_over(opened, run, identify(opened.people(), claimed), to, reason)
        _told_of(opened, pending, as_json=as_json)


def check_item(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name, the beginning of it, or `latest`.")
    ],
    item: Annotated[int, typer.Argument(metavar="ITEM", help="The item's number; the first is 1.")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="It is not done after all.")] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tick an item of the manual step's checklist."""
    with open_home(settings_of(home)) as opened:
        pending = tick(opened, run, identify(opened.people(), claimed), item, done=not undo)
        _told_of(opened, pending, as_json=as_json)


def attest_step(
    run: RunArgument = "latest",
    *,
    evidence: EvidenceOption = None,
    file: FileOption = None,
    digest_only: Annotated[
        bool, typer.Option("--digest-only", help="Keep what proves the files, and not the files.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="It cannot be done; say why with --reason.")
    ] = False,
    reason: ReasonOption = "",
    active: ActiveOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign that the manual step a run waits for is done, or with --failed that it cannot be.

    Every item of its checklist must be ticked. Where the step asks for a second person, they confirm it next.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        word = Attestation(
            files=_files(opened, _pairs("file", file), digest_only=digest_only),
            failed=failed,
            reason=reason,
            active=_span(active),
        )
        node = attest(opened, run, identity, _pairs("evidence", evidence), word)
        name = find_run(opened, run).summary.run
        waits = node.second if node.second and not failed else ""
        taken = not waits and go_on_with(settings, name, load_plan(opened, name))
    what = f"attested that '{node.name}' cannot be done" if failed else f"attested '{node.name}'"
    go_on = f"mimrun confirm {name}, by another person ({waits})" if waits else f"mimrun resume {name}"
    told(f"{identity.person.id} {what}", name, taken=taken, go_on=go_on, as_json=as_json)


def confirm_step(
    run: RunArgument = "latest",
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign, as a second person, that what somebody attested is so."""
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        pending = confirm(opened, run, identity)
        taken = go_on_with(settings, pending.run, load_plan(opened, pending.run))
    text = f"{identity.person.id} confirmed '{pending.node.name}'"
    told(text, pending.run, taken=taken, go_on=f"mimrun resume {pending.run}", as_json=as_json)


def dispute_step(
    run: RunArgument = "latest",
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say, as a second person, that what somebody attested is not so. The step is to be done again."""
    with open_home(settings_of(home)) as opened:
        pending = dispute(opened, run, identify(opened.people(), claimed), reason)
        _told_of(opened, pending, as_json=as_json)


def card(run: RunArgument = "latest", *, home: HomeOption = None) -> None:
    """Print what is left of a run as a page to work from by hand, where automation does not reach the hosts.

    It is Markdown: instructions, the exact commands of each step that is left, their hosts, checks and undo, and
    where to sign. No secret is on it. What you did belongs into the log: `mimrun attest`, `mimrun did`.
    """
    with open_home(settings_of(home)) as opened:
        typer.echo(card_of(opened, run), nl=False)


def _told_of(home: Home, pending: PendingManual, *, as_json: bool) -> None:
    """Show how a manual step stands now."""
    if as_json:
        print_json(
            {"run": pending.run, "step": pending.node.path, **manual_json(pending.state, home.clock())}
        )
        return
    out = console()
    out.print(Text(f"{pending.run}: {pending.node.name}", "bold"))
    print_manual(out, home, pending_manual(home, pending.run))
    if pending.state.status in (ManualStatus.ASKED, ManualStatus.CLAIMED):
        out.print(Text(f"  when it is done: mimrun attest {pending.run}", "dim"))


def _files(home: Home, paths: dict[str, str], *, digest_only: bool) -> dict[str, Attachment]:
    if not paths:
        return {}
    masker = masker_of(home.settings)
    read = read_attachments([Path(path) for path in paths.values()], masker, digest_only=digest_only)
    return dict(zip(paths, read, strict=True))


def _span(text: str | None) -> timedelta | None:
    """Read how long something took.

    Raises:
        InputError: it is no span of time.
    """
    if text is None:
        return None
    try:
        return timedelta(milliseconds=parse_duration(text))
    except ValueError as exc:
        raise InputError(f"--active {text!r}: {exc}") from exc


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    wrong = [pair for pair in given or [] if "=" not in pair]
    if wrong:
        raise InputError(f"{option} {wrong[0]!r}: write name=value")
    return {name: value for name, _, value in (pair.partition("=") for pair in given or [])}


COMMANDS = {
    "claim": command(
        "claim", claim_step, "mimrun claim latest", 'mimrun claim run-7k2q --reason "alex is asleep"'
    ),
    "release": command("release", release_step, 'mimrun release latest --reason "called away"'),
    "hand-over": command(
        "hand-over",
        hand_step_over,
        'mimrun hand-over latest --to billie --reason "end of my shift; item 2 is open"',
    ),
    "check": command("check", check_item, "mimrun check latest 2", "mimrun check latest 2 --undo"),
    "attest": command(
        "attest",
        attest_step,
        "mimrun attest latest -e link=https://portal.example.org/42",
        "mimrun attest latest --file screenshot=portal.png --active 12m",
        'mimrun attest latest --failed --reason "the portal does not answer"',
    ),
    "confirm": command("confirm", confirm_step, "mimrun confirm latest --as billie"),
    "dispute": command("dispute", dispute_step, 'mimrun dispute latest --reason "the link goes nowhere"'),
    "card": command("card", card, "mimrun card latest > card.md"),
}
