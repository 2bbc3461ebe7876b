"""`mimrun approve | reject | withdraw | resolve`: the words of people, on the record."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import JsonValue
from rich.text import Text

from mimrun.app.decisions import (
    PendingGate,
    decide,
    gate_verdict,
    override_freeze,
    pending_gate,
)
from mimrun.app.execution import execute_run
from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.launching import find_launcher, hand_over, stays_here
from mimrun.app.resolving import Resolution, Word, doubts, settle
from mimrun.app.runs import find_run, load_plan, load_state
from mimrun.app.shown.gate import verdict_json
from mimrun.app.signed.approvals import Word as SignedWord
from mimrun.app.withdrawal import withdraw
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    JsonOption,
    RunArgument,
    YesOption,
    command,
    settings_of,
)
from mimrun.cli.plan_view import print_segment
from mimrun.cli.signing import KeyOption, Signing, SignOption, signing
from mimrun.cli.terminal import ask as ask_person
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.gate.approval import Closed, Open, Purpose, Verdict, Waiting
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")]
DigestOption = Annotated[
    str | None,
    typer.Option("--digest", metavar="HEX", help="The digest that you looked at; at least 12 characters."),
]


def approve(
    run: RunArgument = "latest",
    *,
    digest: DigestOption = None,
    reason: ReasonOption = "",
    freeze_override: Annotated[
        bool,
        typer.Option(
            "--freeze-override",
            help="Allow it although a calendar is closed; needs the role freeze_approver, and a reason.",
        ),
    ] = False,
    sign: SignOption = False,
    key: KeyOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Agree to exactly what a waiting gate would let through.

    Shows what the gate asks for and why, then the targets, commands and undo behind it. The approval counts
    for this digest only: any difference voids it. Who asked for the run cannot approve it.

    With --sign it is signed by your SSH key, so that it can be proven without this machine: allowed_signers in
    mimrun's home says whose key it is.
    """
    vote = _Vote(run, "approved", digest, reason, claimed, freeze_override, signing(key, sign=sign))
    _cast(settings_of(home), vote, ask=not yes and digest is None, as_json=as_json)


def take_back(
    run: RunArgument = "latest",
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back an approval of your own, as long as nothing was changed by it.

    The gate needs somebody else then, or you again. What has begun is stopped with pause or cancel.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        node = withdraw(opened, run, identity, reason)
        name = find_run(opened, run).summary.run
    text = f"{identity.person.id} took back the approval of '{node.name}'"
    told(text, name, taken=False, go_on="", as_json=as_json)


def reject(
    run: RunArgument = "latest",
    *,
    reason: ReasonOption = "",
    digest: DigestOption = None,
    sign: SignOption = False,
    key: KeyOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse what a waiting gate would let through. The run ends there; a reason is required."""
    vote = _Vote(run, "rejected", digest, reason, claimed, signing=signing(key, sign=sign))
    _cast(settings_of(home), vote, ask=False, as_json=as_json)


def resolve_doubt(
    run: RunArgument,
    step: Annotated[str, typer.Argument(help="The step's path, as `mimrun status` shows it.")],
    *,
    target: Annotated[
        str | None, typer.Option("--target", help="The host; needed when several are in doubt.")
    ] = None,
    applied: Annotated[bool, typer.Option("--applied", help="It happened: go on behind it.")] = False,
    not_applied: Annotated[bool, typer.Option("--not-applied", help="It did not happen: do it.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave it out and go on.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Count it as failed.")] = False,
    reason: ReasonOption = "",
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="TEXT|@FILE", help="What you saw, kept with your word.")
    ] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what became of a step that is in doubt, and how you know.

    An undo that found another state than was left, or that failed, asks in the same way: `mimrun status`
    shows what each answer means there. Where the risk is high two people are needed: the first word is a
    proposal, and counts when another person says the same; another word takes its place.
    """
    said = _said({"applied": applied, "not_applied": not_applied, "skip": skip, "abort": abort})
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        word = Word(said, reason, _evidence(evidence))
        settled = settle(opened, run, identity, (step, target), word)
        view = find_run(opened, run)
        left = doubts(load_state(opened, view.summary.run))
    if settled.proposed:
        text = f"{identity.person.id} proposed for step {step}: {said}; the risk is high"
        go_on = f"the same from a second person: mimrun resolve {view.summary.run} {step} ..."
    else:
        rest = f"; {len(left)} more in doubt" if left else ""
        text = f"{identity.person.id} settled step {step}: {said}{rest}"
        go_on = "" if left else f"mimrun resume {view.summary.run}"
    told(text, view.summary.run, taken=False, go_on=go_on, as_json=as_json)


def _said(words: dict[Resolution, bool]) -> Resolution:
    said = [word for word, given in words.items() if given]
    if len(said) != 1:
        raise InputError("say exactly one of --applied, --not-applied, --skip, --abort")
    return said[0]


def _evidence(given: str) -> bytes:
    """Give the evidence: the text itself, or the content of the file that is named with @.

    Raises:
        InputError: the file cannot be read.
    """
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as exc:
        raise InputError(f"--evidence {given}: cannot be read: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True)
class _Vote:
    """What a person typed at a gate."""

    run: str
    decision: Literal["approved", "rejected"]
    digest: str | None
    reason: str
    claimed: str | None
    freeze_override: bool = False
    signing: Signing | None = None

    @property
    def purpose(self) -> Purpose:
        """What the word is for."""
        return "freeze_override" if self.freeze_override else "approval"


def _cast(settings: Settings, vote: _Vote, *, ask: bool, as_json: bool) -> None:
    with open_home(settings) as opened:
        identity = identify(opened.people(), vote.claimed)
        pending = pending_gate(opened, vote.run)
        if not as_json and vote.decision == "approved":
            print_segment(console(), pending)
        if ask:
            _confirm(pending)
        # An empty digest is one that somebody's script failed to fill in, and no word of agreement.
        digest = pending.request.digest if vote.digest is None else vote.digest
        if vote.signing is not None:
            word = SignedWord(vote.decision, vote.reason, vote.purpose)
            role = vote.signing.decide(opened, pending, identity, word, digest=digest).role
        elif vote.freeze_override:
            role = override_freeze(opened, pending, identity, digest=digest, reason=vote.reason)
        else:
            role = decide(opened, pending, identity, vote.decision, digest=digest, reason=vote.reason)
        name = pending.run.summary.run
        verdict, taken = verdict_after(settings, opened, name)
    what = "freeze override " if vote.freeze_override else ""
    said = f"{what}{vote.decision} by {identity.person.id} as {role}"
    tell_verdict(settings, name, said, verdict, taken=taken, as_json=as_json)


def verdict_after(settings: Settings, opened: Home, run: str) -> tuple[Verdict, bool]:
    """Give how a gate stands after a decision, and whether the engine goes on with the run."""
    plan = load_plan(opened, run)
    verdict = gate_verdict(opened, load_state(opened, run), plan)
    return verdict, not isinstance(verdict, Waiting) and go_on_with(settings, run, plan)


def tell_verdict(
    settings: Settings, run: str, said: str, verdict: Verdict, *, taken: bool, as_json: bool
) -> None:
    """Say how a gate stands after a decision, and end the run where it is closed.

    Arguments:
        said: what was decided, in words.
        taken: the engine goes on with the run.
    """
    if isinstance(verdict, Closed) and not taken:
        # Nothing is done behind a gate that is closed: what is left is to write the end down.
        execute_run(settings, run)
    needs = f", it needs {verdict.needs}" if isinstance(verdict, Waiting) else ""
    stands = verdict_json(verdict)
    go_on = f"mimrun resume {run}" if isinstance(verdict, Open) and not taken else ""
    text = f"{said}; the gate is {stands['stands']}{needs}"
    told(text, run, taken=taken, go_on=go_on, as_json=as_json, gate=stands)


def _confirm(pending: PendingGate) -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is there to ask: look at the plan, then give its digest with"
            f" --digest {pending.request.digest[7:19]}"
        )
    if not ask_person("Agree to exactly this?"):
        typer.echo("nothing was decided", err=True)
        raise typer.Exit(7)


def go_on_with(settings: Settings, run: str, plan: Plan) -> bool:
    """Hand the run to the engine if one is up; a responder who follows it goes on with it otherwise."""
    launcher = find_launcher(settings)
    if stays_here(plan):
        return False
    return hand_over(launcher, run, direct=False, patience_ms=0).mode == "prefect"


def told(
    text: str, run: str, *, taken: bool, go_on: str, as_json: bool, gate: dict[str, JsonValue] | None = None
) -> None:
    """Say what a person's word has led to, and what goes on from there."""
    if as_json:
        stands: dict[str, JsonValue] = {"gate": gate} if gate else {}
        print_json({"run": run, "result": text, "resumed": taken, "next": go_on, **stands})
        return
    out = console()
    out.print(Text(safe_line(text), "bold"))
    if taken or go_on:
        # A responder who stayed at the run goes on without another word.
        hint = "the engine goes on with it" if taken else f"go on with: {go_on}"
        out.print(Text(hint, "dim"))


COMMANDS = {
    "approve": command(
        "approve",
        approve,
        "mimrun approve latest --as alex",
        "mimrun approve run-7k2q --digest 3f9a0c11d2e4 --yes",
        'mimrun approve run-7k2q --freeze-override --reason "customers cannot pay until this is done"',
    ),
    "reject": command("reject", reject, 'mimrun reject run-7k2q --reason "the standby is two hours behind"'),
    "withdraw": command(
        "withdraw", take_back, 'mimrun withdraw run-7k2q --reason "the standby has fallen behind since"'
    ),
    "resolve": command(
        "resolve",
        resolve_doubt,
        'mimrun resolve run-7k2q 4 --applied --reason "saw it in the host\'s journal" --evidence @journal.txt',
    ),
}
