"""Every command, where it lives and what it is for: the one table that `mimrun --help` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line.

    Arguments:
        name: what a person types.
        module: where it is, under `mimrun.cli`.
        help: what it is for, in a line.
    """

    name: str
    module: str
    help: str


SECTIONS: Final[tuple[tuple[str, tuple[Command, ...]], ...]] = (
    (
        "Run",
        (
            Command("plan", "plan", "Show exactly what a runbook would do, where, and what can be undone."),
            Command("run", "run", "Show the plan of a runbook, then execute it and follow it live."),
            Command(
                "resume", "run", "Go on with a run after a pause, a crash, a decision or a settled doubt."
            ),
            Command("pause", "stopping", "Let a run rest when what is under way is finished."),
            Command("cancel", "stopping", "End a run: what is under way is ended on its target, with proof."),
            Command("abort", "stopping", "Stop a run now, without waiting for any target."),
            Command("kill-switch", "control", "Stop everything at once; two people let it go on."),
            Command("proposal", "proposal", "Take, or let be, what a rule proposes because of alerts."),
            Command("retry", "retry", "Do again what failed in a run, on the hosts where it failed."),
            Command("undo", "undo", "Take back what a run did, in reverse order."),
            Command("reverts", "reverts", "List what was done for a time only, or let it stand for good."),
        ),
    ),
    (
        "Decide",
        (
            Command("approve", "decide", "Agree to what a waiting gate would let through."),
            Command("reject", "decide", "Refuse what a waiting gate would let through, with a reason."),
            Command("withdraw", "decide", "Take back an approval of your own before it is used."),
            Command(
                "approval",
                "approval",
                "Have a gate decided elsewhere: a message that is signed and sent back.",
            ),
            Command("change", "change", "Open, decide and close changes; say under which a run is done."),
            Command("claim", "manual", "Take up the manual step that a run waits for."),
            Command("release", "manual", "Put a manual step down, for somebody else to take up."),
            Command("hand-over", "manual", "Hand a manual step to somebody else."),
            Command("check", "manual", "Tick an item of a manual step's checklist."),
            Command("attest", "manual", "Sign that a manual step is done, or cannot be, with its evidence."),
            Command("confirm", "manual", "Sign, as a second person, that a manual step is done."),
            Command("dispute", "manual", "Say, as a second person, that a manual step is not done."),
            Command("card", "manual", "Print what is left of a run as a page to work from by hand."),
            Command("resolve", "decide", "Say what became of a step that is in doubt."),
            Command("policy", "policy", "Say why a gate is closed; show and check what gates ask for."),
            Command("calendar", "calendar", "Show when nothing may be changed, and take calendars in."),
            Command("incident", "incident", "Declare incidents, see how each stands, and work on them."),
            Command("unlock", "locks", "Take a lock from a run that cannot end."),
            Command(
                "breaker", "control", "Let a runbook be launched again that failed several times in a row."
            ),
        ),
    ),
    (
        "Record",
        (
            Command("note", "note", "Write something down in the log of an incident."),
            Command("did", "note", "Record what you did outside of a runbook, and when."),
            Command("shell", "shell", "Open a shell on a host, and record what it shows."),
            Command("attach", "note", "Attach files to an incident, with their digest."),
        ),
    ),
    (
        "Look",
        (
            Command("runs", "status", "List runs, the newest first."),
            Command("status", "status", "Show where a run stands and what it needs."),
            Command("replay", "replay", "Tell a run again, or try a changed runbook on what was recorded."),
            Command("alert", "alert", "Show alerts, hand one in, and check who may send them."),
            Command(
                "review", "review", "Write the review of an incident, and follow what is to be done after it."
            ),
            Command("locks", "locks", "Show which run holds which resource, why, and what to do."),
            Command("log", "log", "Show, verify, export, anchor, redact or rebuild the incident log."),
            Command("runbook", "runbook", "List, show and lint runbooks."),
            Command("inventory", "inventory", "Show the inventory, and the hosts of a pattern."),
            Command("schema", "runbook", "Print the JSON Schema of the runbook language, for editors."),
        ),
    ),
    (
        "Set up",
        (
            Command("init", "setup", "Make mimrun's home: the log, the people file, Prefect's database."),
            Command(
                "serve", "serve", "Serve the console, the API and the alert intake, with all that runs need."
            ),
            Command("up", "setup", "Keep a warm engine in the background, so that runs start at once."),
            Command("down", "setup", "Stop the engine."),
            Command("worker", "worker", "Stay, and go on with runs that nobody is there for."),
            Command(
                "watch", "watch", "Stay, ask queries, and record what is beyond their numbers as alerts."
            ),
            Command("rule", "rule", "List, check and try the rules that say what alerts lead to."),
            Command("notice", "notice", "Show and try who is told what, over which channel."),
            Command(
                "breakglass", "breakglass", "Seal runbooks for when nothing works, and merge what was done."
            ),
            Command("people", "people", "Show who may do what, and check the file that says so."),
            Command("oncall", "oncall", "Show who is on call, and import the plans that say so."),
            Command("token", "token", "Make, list and revoke tokens that sign programs in."),
            Command("password", "password", "Set, remove and list passwords for signing in at the server."),
            Command("session", "password", "List and end sessions at the server."),
            Command("login", "login", "Sign in with OpenID Connect, for some hours."),
            Command("logout", "login", "End the session that login began."),
            Command("whoami", "login", "Say who acts here, how that is known, and in which roles."),
            Command("key", "key", "Show and change the keys that sign the log, and certify them."),
            Command("signer", "signer", "Sign the log for others, as a user that they are not."),
            Command("store", "store", "Bring the log up to date, or take it to PostgreSQL or back."),
            Command("doctor", "setup", "Check this machine and say what is missing."),
            Command("demo", "demo", "Break a real PostgreSQL pair and fail it over, on this machine."),
        ),
    ),
)

BY_NAME: Final = {command.name: command for _, commands in SECTIONS for command in commands}
