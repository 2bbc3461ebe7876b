"""Situations in which people try what they may or may not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from builders.plans import a_plan, action, gate, manual
from builders.runs import Bench
from builders.world import WORLD

from mimrun.app.breakglass.glass import agree, ask_for
from mimrun.app.change.linking import Found, link_change
from mimrun.app.decisions import attest, decide, override_freeze, pending_gate, resolve
from mimrun.app.execution import execute_run
from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity
from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import list_incidents
from mimrun.app.killswitch import lift, pull
from mimrun.app.locks import unlock
from mimrun.app.priority import prioritize
from mimrun.app.rule.drafts import RULES, proposal_draft
from mimrun.app.rule.proposals import dismiss_proposal, find_proposal, take_proposal
from mimrun.app.rule.resuming import resume_rules
from mimrun.app.runs import create_run, find_run
from mimrun.app.stopping import request_resume, request_stop
from mimrun.app.withdrawal import withdraw
from mimrun.gate.people import Person
from mimrun.gate.role import ROLES
from mimrun.log.entry import Draft
from mimrun.log.kinds import GateEscalated, StormBegan
from mimrun.run.record.wish import Level
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.node import Node, PlannedGate
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

EVERY_ROLE: Final = ", ".join(role for role in ROLES if role not in ("auditor", "external_consultant"))
PEOPLE: Final = (
    "people:\n"
    + "".join(f"  {role}: {{roles: [{role}]}}\n" for role in ROLES if role != "external_consultant")
    + f"""\
  external_consultant: {{roles: [{{role: external_consultant, until: 2099-01-01}}]}}
  former: {{roles: [change_manager, {{role: external_consultant, until: 2025-01-01}}]}}
  launcher: {{roles: [{EVERY_ROLE}], accounts: [launcher-adm]}}
  left: {{roles: [{EVERY_ROLE}], active: false}}
"""
)

LAUNCHER: Final = Identity(Person("launcher", "launcher"), "os-user")
WHO: Final[Mapping[str, Identity]] = {
    **{role: Identity(Person(role, role, frozenset({role})), "os-user") for role in ROLES},
    "launcher": LAUNCHER,
    "alias": Identity(Person("launcher", "launcher"), "os-user"),
    "claimed": Identity(Person("change_manager", "x"), "claimed:launcher-adm"),
    "left": Identity(Person("left", "left"), "os-user"),
    "former": Identity(Person("former", "former"), "os-user"),
    "stranger": Identity(Person("stranger", "stranger"), "os-user"),
}
NOTHING_FROZEN: Final = "matrix: {medium: {other: none, freeze: none}}\n"
ONE: Final = (
    "matrix: {medium: {other: {approvals: [{role: change_manager}]}, freeze: {freeze_override: true}}}\n"
)
REFUSED: Final = ONE.replace("freeze_override: true", "refused: 'not in a freeze'")
SIGNED: Final = ONE + "signed: true\n"
CHAIN: Final = ONE + "escalation: [executive]\non_timeout: escalate\n"
ONLY_A_CHANGE: Final = "matrix: {medium: {other: {change: normal}, freeze: none}}\n"
FROZEN: Final = """\
name: frozen
timezone: UTC
closed: [{weekly: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "00:00"}, reason: always}]
"""


def set_up(folder: Path, policy: str = "", *, frozen: bool = False) -> Bench:
    """Make a home with these rules."""
    bench = Bench(folder)
    bench.settings.people.write_text(PEOPLE)
    if policy:
        bench.settings.policy.write_text(policy)
    if frozen:
        bench.settings.calendars.mkdir(exist_ok=True)
        (bench.settings.calendars / "frozen.yaml").write_text(FROZEN)
    return bench


def again(folder: Path) -> Bench:
    """Give a home that is there already."""
    bench = Bench.__new__(Bench)
    bench.catalog, bench.settings, bench.world = WORLD, Settings(home=folder / "home"), folder / "world"
    return bench


def launch(bench: Bench, plan: Plan) -> str:
    """Ask for a plan as the launcher, under the account that `alias` and `claimed` are about, and execute it."""
    with bench.home() as home:
        run = create_run(home, plan, Identity(Person("launcher", "launcher"), "claimed:launcher-adm"))
    execute_run(bench.settings, run, catalog=bench.catalog)
    return run


def waiting(policy: str = "", *nodes: Node, frozen: bool = False) -> Callable[[Path], Bench]:
    """Give what makes a home in which a run of these nodes waits."""

    def make(folder: Path) -> Bench:
        bench = set_up(folder, policy, frozen=frozen)
        plan = a_plan(bench.world, *(nodes or (gate("1"), action("2"))))
        launch(bench, with_launch_gate(plan) if policy else plan)
        return bench

    return make


def two_roles() -> PlannedGate:
    """Give a gate for a change manager and a leader."""
    both = gate("1", role="change_manager")
    need = both.approvals[0].model_copy(update={"role": "major_incident_manager"})
    return both.model_copy(update={"approvals": (*both.approvals, need)})


def approved(folder: Path) -> Bench:
    """A gate that the change manager has approved."""
    bench = waiting()(folder)
    bench.approve("latest", WHO["change_manager"])
    return bench


def used(folder: Path) -> Bench:
    """What the change manager has approved is done, and the run waits for work by hand."""
    bench = waiting("", gate("1"), action("2"), manual("3"))(folder)
    bench.approve("latest", WHO["change_manager"])
    bench.execute(name_of(bench))
    return bench


def rejected(folder: Path) -> Bench:
    """A gate that the change manager has rejected, and nobody has written down the end yet."""
    bench = waiting()(folder)
    with bench.home() as home:
        pending = pending_gate(home, "latest")
        decide(home, pending, WHO["change_manager"], "rejected", digest=pending.request.digest, reason="no")
    return bench


def escalated(folder: Path) -> Bench:
    """A gate at which executives are asked besides."""
    bench = waiting(CHAIN, action("1"))(folder)
    with bench.home() as home:
        pending = pending_gate(home, "latest")
        summary = pending.run.summary
        body = GateEscalated(digest=pending.asked.digest, to="executive", round=1)
        home.store.append(
            [Draft(LAUNCHER.actor(), body, inc=summary.incident, run=summary.run, step=pending.node.path)]
        )
    return bench


def in_doubt(folder: Path) -> Bench:
    """A step of which nobody knows whether it happened."""
    bench = set_up(folder)
    launch(bench, a_plan(bench.world, action("1", word="x", answer="lost")))
    return bench


def paused(folder: Path) -> Bench:
    """A run that somebody let rest."""
    bench = waiting()(folder)
    with bench.home() as home:
        request_stop(home, "latest", LAUNCHER, Level.PAUSE, "wait")
    return bench


def pulled(folder: Path) -> Bench:
    """The kill switch is pulled."""
    bench = set_up(folder)
    pull(bench.settings, WHO["service_desk"], "stop")
    return bench


def locked(folder: Path) -> Bench:
    """A run that holds a lock and waits."""
    bench = set_up(folder)
    plan = a_plan(bench.world, action("1"), gate("2"))
    fields = {**plan.model_dump(mode="json", by_alias=True), "locks": ["host/a"]}
    launch(bench, Plan.model_validate(fields))
    return bench


def wanted(folder: Path) -> Bench:
    """A run that the launcher wants past its gates."""
    bench = set_up(folder)
    plan = a_plan(bench.world, gate("1"), action("2"))
    with bench.home() as home:
        create_run(home, plan, LAUNCHER, more=ask_for(home, plan, LAUNCHER, "people wait"))
    return bench


def name_of(bench: Bench) -> str:
    """Give the last run."""
    with bench.home() as home:
        return find_run(home, "latest").summary.run


def say(home: Home, who: Identity, decision: str, digest: str = "") -> None:
    """Approve, reject, or override a freeze."""
    pending = pending_gate(home, "latest")
    shown = digest or pending.request.digest
    if decision == "override":
        override_freeze(home, pending, who, digest=shown, reason="it cannot wait")
    elif decision == "approved":
        decide(home, pending, who, "approved", digest=shown)
    else:
        decide(home, pending, who, "rejected", digest=shown, reason="no")


def start(home: Home, who: Identity, verb: str) -> None:
    """Launch a plan."""
    create_run(home, a_plan(home.settings.home.parent / "world", action("1", verb)), who)


def want(home: Home, who: Identity) -> None:
    """Ask for a run past its gates."""
    plan = a_plan(home.settings.home.parent / "world", gate("1"), action("2"))
    create_run(home, plan, who, more=ask_for(home, plan, who, "people wait"))


def incident_of(home: Home) -> str:
    """Give the incident of the last run."""
    return find_run(home, "latest").summary.incident


MILD: Final = Declaration("It is slow", "low", "low")


def declared(folder: Path) -> Bench:
    """An incident that the launcher declared."""
    bench = set_up(folder)
    with bench.home() as home:
        declare(home, LAUNCHER, MILD)
    return bench


def over(folder: Path, *, closed: bool = False, table: str = "") -> Bench:
    """An incident that the launcher resolved, and perhaps closed."""
    bench = declared(folder)
    if table:
        bench.settings.incidents.write_text(table)
    with bench.home() as home:
        working.resolve(home, LAUNCHER, "latest", "no_fault")
        if closed:
            working.close(home, LAUNCHER, "latest")
    return bench


def proposed(folder: Path) -> Bench:
    """A plan that a rule proposes."""
    bench = declared(folder)
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        inc = list_incidents(home)[0].name
        until = home.clock() + timedelta(hours=1)
        home.store.append([proposal_draft("primary-down", "prop-1", plan, inc, until)])
    return bench


def stormy(folder: Path) -> Bench:
    """A storm of alerts."""
    bench = declared(folder)
    with bench.home() as home:
        inc = list_incidents(home)[0].name
        home.store.append([Draft(RULES, StormBegan(incident=inc, reason="too many runs"), inc=inc)])
    return bench


def settle(home: Home, who: Identity) -> None:
    """Say that the step in doubt happened."""
    resolve(home, "latest", who, step="1", target="a", resolution="applied", reason="looked")


Try = tuple[Callable[[Path], Bench], Callable[[Home, Identity], object]]
GATES: Final[Mapping[str, Callable[[Path], Bench]]] = {
    "a gate for change managers": waiting(),
    "a gate for two roles": waiting("", two_roles(), action("2")),
    "a gate that the policy put in front of a launch": waiting(ONE, action("1")),
    "a gate that nobody decided in time": waiting("", gate("1", expires_ms=1), action("2")),
    "a gate that executives are asked at besides": escalated,
    "a gate in a freeze": waiting(ONE, action("1"), frozen=True),
    "a gate that is refused in a freeze": waiting(REFUSED, action("1"), frozen=True),
    "a gate where only signed approvals count": waiting(SIGNED, action("1")),
    "a gate that was rejected": rejected,
    "a gate that waits for its change record only": waiting(ONLY_A_CHANGE, action("1")),
}
OTHER: Final = "sha256:" + "0" * 64
TRIES: Final[Mapping[tuple[str, str], Try]] = {
    ("launch", "a plan that only reads"): (set_up, lambda home, who: start(home, who, "read")),
    ("launch", "a plan that changes something"): (set_up, lambda home, who: start(home, who, "once")),
    **{
        ("approve", name): (made, lambda home, who: say(home, who, "approved"))
        for name, made in GATES.items()
    },
    ("approve", "a gate with another digest"): (
        waiting(),
        lambda home, who: say(home, who, "approved", OTHER),
    ),
    **{
        ("reject", name): (made, lambda home, who: say(home, who, "rejected")) for name, made in GATES.items()
    },
    **{
        ("override a freeze", name): (made, lambda home, who: say(home, who, "override"))
        for name, made in GATES.items()
    },
    ("withdraw", "an approval of the change manager"): (
        approved,
        lambda home, who: withdraw(home, "latest", who, "no more"),
    ),
    ("withdraw", "an approval that is used"): (
        used,
        lambda home, who: withdraw(home, "latest", who, "no more"),
    ),
    ("withdraw", "a gate nobody approved"): (
        waiting(),
        lambda home, who: withdraw(home, "latest", who, "no more"),
    ),
    ("attest", "work for the service desk"): (
        waiting("", manual("1"), action("2")),
        lambda home, who: attest(home, "latest", who, {}),
    ),
    ("attest", "work for anybody"): (
        waiting("", manual("1", role=None), action("2")),
        lambda home, who: attest(home, "latest", who, {}),
    ),
    ("resolve", "a step in doubt"): (in_doubt, settle),
    ("pause", "a run that waits"): (
        waiting(),
        lambda home, who: request_stop(home, "latest", who, Level.PAUSE, "wait"),
    ),
    ("resume", "a run that was paused"): (paused, lambda home, who: request_resume(home, "latest", who)),
    ("cancel", "a run that waits"): (
        waiting(),
        lambda home, who: request_stop(home, "latest", who, Level.CANCEL, "enough"),
    ),
    ("abort", "a run that waits"): (
        waiting(),
        lambda home, who: request_stop(home, "latest", who, Level.ABORT, "now"),
    ),
    ("pull the kill switch", "everything"): (set_up, lambda home, who: pull(home.settings, who, "stop")),
    ("lift the kill switch", "what somebody else pulled"): (
        pulled,
        lambda home, who: lift(home, who, "over"),
    ),
    ("unlock", "a lock of a run that waits"): (
        locked,
        lambda home, who: unlock(home, who, "host/a", "stuck"),
    ),
    ("say how urgent it is", "an incident"): (
        waiting(NOTHING_FROZEN, gate("1"), action("2")),
        lambda home, who: prioritize(home, who, incident_of(home), "P1", "customers cannot pay"),
    ),
    ("declare", "an incident"): (set_up, lambda home, who: declare(home, who, MILD)),
    ("assess", "an incident"): (declared, lambda home, who: working.assess(home, who, "latest", MILD)),
    ("assign a role", "in an incident"): (
        declared,
        lambda home, who: working.assign(home, who, "latest", "scribe", "responder"),
    ),
    ("move the stage", "of an incident"): (
        declared,
        lambda home, who: working.move_stage(home, who, "latest", "containment"),
    ),
    ("say that it is contained", "without a verified step or a reason"): (
        declared,
        lambda home, who: working.move_stage(home, who, "latest", "resolution"),
    ),
    ("say that it is resolved", "an incident"): (
        declared,
        lambda home, who: working.resolve(home, who, "latest", "no_fault"),
    ),
    ("close", "an incident that is resolved"): (over, lambda home, who: working.close(home, who, "latest")),
    ("close", "an incident where the table names who closes"): (
        lambda folder: over(folder, table="close: [major_incident_manager]\n"),
        lambda home, who: working.close(home, who, "latest"),
    ),
    ("close", "an incident that is not resolved"): (
        declared,
        lambda home, who: working.close(home, who, "latest"),
    ),
    ("reopen", "an incident that is closed"): (
        lambda folder: over(folder, closed=True),
        lambda home, who: working.reopen(home, who, "latest", "the errors are back"),
    ),
    ("tell when it was", "an incident"): (
        declared,
        lambda home, who: working.set_time(home, who, "latest", "started", home.clock()),
    ),
    ("link", "an incident with a record"): (
        declared,
        lambda home, who: working.link(home, who, "latest", "record", "INC0010042"),
    ),
    ("take", "what a rule proposes"): (
        proposed,
        lambda home, who: take_proposal(home, who, "prop-1", find_proposal(home, "prop-1").digest),
    ),
    ("take", "what a rule proposes, with another digest"): (
        proposed,
        lambda home, who: take_proposal(home, who, "prop-1", OTHER),
    ),
    ("dismiss", "what a rule proposes"): (
        proposed,
        lambda home, who: dismiss_proposal(home, who, "prop-1", "a drill"),
    ),
    ("let rules launch again", "after a storm"): (
        stormy,
        lambda home, who: resume_rules(home, who, "the network is back"),
    ),
    ("want the glass broken", "a plan behind a gate"): (set_up, want),
    ("agree to break the glass", "a run that the launcher wants past its gates"): (
        wanted,
        lambda home, who: agree(home, "latest", who),
    ),
    ("link a change", "a run that waits"): (
        waiting(),
        lambda home, who: link_change(home, "latest", Found("register", "CHG-1", ""), who),
    ),
}


def opened(bench: Bench) -> object:
    """Open the home; the log stays open as long as the `with` lasts."""
    return open_home(bench.settings, catalog=bench.catalog)
