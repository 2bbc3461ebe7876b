"""The demo's main story: the primary of a real PostgreSQL pair dies, and people fail it over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from mimrun.app.demo.aftermath import Settled, settle
from mimrun.app.demo.alarm import Alarm
from mimrun.app.demo.console import ConsoleDoor, open_console
from mimrun.app.demo.evidence import Evidence, prove
from mimrun.app.demo.learning import Learned, learn
from mimrun.app.demo.noticing import Noticed, notice
from mimrun.app.demo.report import FenceProof, Held, Moment, Report, after_ms, fence_proof, timeline
from mimrun.app.demo.run import DemoRun, Narrator
from mimrun.app.demo.stage import RESPONDER, SERVICE_DESK, Stage
from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.records import verify_log
from mimrun.app.rule.proposals import proposal_plan, take_proposal
from mimrun.errors import LabError
from mimrun.lab import loopback, patience
from mimrun.lab.failover import FailoverLab
from mimrun.lab.writer import Notes
from mimrun.log.moment import read_moment, utc_now
from mimrun.log.proof.verify import Report as LogReport
from mimrun.run.record.transitions import RunStatus

RUNBOOK: Final = "postgres-failover"
CLUSTER: Final = "demo"
LINK: Final = "https://portal.example.org/incidents/postgres-failover"
ROWS: Final = 40
"""Rows that the client has written before the primary dies."""
BACK_S: Final = 10.0
"""Seconds that the client gets to come back after the run."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen from outside of the run.

    Arguments:
        outage: seconds without an acknowledged write; None where none came.
        notes: the client's.
        lost: rows that were acknowledged and are gone; None where nobody could look.
        settled: how the incident ended; None where it did not.
        closed: nothing listens at the old primary's port.
    """

    outage: float | None
    notes: Notes
    lost: Sequence[int] | None
    settled: Settled | None
    closed: bool

    def as_json(self) -> dict[str, JsonValue]:
        """What was seen, for `--json`."""
        return {
            "outage_ms": None if self.outage is None else round(self.outage * 1000),
            "acknowledged": len(self.notes.acknowledged),
            "failed_writes": len(self.notes.failed),
            "lost": None if self.lost is None else len(self.lost),
            "summary": _summary(self.outage, self.lost, self.notes),
        }


@dataclass(slots=True)
class FailoverDemo:
    """Plays the failover.

    Arguments:
        stage: where, entered.
        narrator: tells it.
        interactive: the person at the keyboard approves, in another terminal.
        clock: the present moment, UTC.
    """

    stage: Stage
    narrator: Narrator
    interactive: bool = False
    clock: Callable[[], datetime] = utc_now
    died_at: datetime = field(default=datetime(1970, 1, 1, tzinfo=UTC))

    def play(self) -> Report:
        """Play it from the first part to the last word.

        Raises:
            LabError: a part cannot be started; everything is stopped again.
        """
        lab = FailoverLab(self.stage.folder, cluster=CLUSTER)
        alarm = Alarm(self.stage.settings, lab, RUNBOOK)
        try:
            self._set_up(lab, alarm)
            with open_home(self.stage.settings) as home:
                before = home.store.head().size
                self._break(lab)
                noticed = notice(home, self.narrator, alarm, self.died_at, before)
                door = open_console(home, alarm.server.url) if self.stage.keep or self.interactive else None
                run = self._fail_over(home, noticed, door)
                report = self._conclude(run, lab, alarm, noticed)
            if self.stage.keep:
                lab.keep()
                alarm.keep()
                self.stage.note_kept()
                report = replace(report, console=door)
            return report
        finally:
            alarm.stop()
            lab.stop()

    def _set_up(self, lab: FailoverLab, alarm: Alarm) -> None:
        tell = self.narrator
        tell.scene("Real parts, on this machine's loopback only")
        with tell.busy("starting PostgreSQL, ssh hosts, a client"):
            lab.start()
        one, two = lab.pair.primary, lab.pair.standby
        front = (
            f"HAProxy {lab.proxy.host}:{lab.proxy.port} sends clients to the primary."
            if lab.proxy
            else "HAProxy is not installed: the client knows both servers."
        )
        tell.tell(
            f"PostgreSQL {one.name} is the primary ({one.host}:{one.port}), {two.name} streams from it as the"
            f" standby ({two.host}:{two.port}), asynchronously. Each has a host that answers ssh with a strict host"
            f" key. {front} A client writes a row about 30 times a second."
        )
        with tell.busy("starting mimrun's server, and what watches the client"):
            alarm.start()
        watch = (
            "Prometheus watches the client, and Alertmanager tells mimrun"
            if alarm.watched
            else "Prometheus and Alertmanager are not installed"
        )
        tell.tell(f"{watch}. mimrun's server takes alerts at {alarm.server.url}.")
        if self.stage.engine.launcher is not None:
            with tell.busy("waking Prefect, which will drive the run"):
                self.stage.engine.wait()
        if self.stage.engine.why_not:
            tell.tell(f"Prefect is left out: {self.stage.engine.why_not}. The run is executed directly.")

    def _break(self, lab: FailoverLab) -> None:
        one = lab.pair.primary
        # Enough rows that a loss would show.
        patience.came_true(lambda: len(lab.writer.notes().acknowledged) >= ROWS, seconds=10)
        self.narrator.scene("The primary dies")
        self.died_at = self.clock()
        died = lab.kill_primary()
        seen = patience.came_true(lambda: any(f.sent >= died for f in lab.writer.notes().failed), seconds=10)
        if not seen:
            raise LabError(f"{one.name} was killed and the client still writes; see {lab.folder}")
        why = next(f.reason for f in lab.writer.notes().failed if f.sent >= died)
        self.narrator.tell(
            f"Every process of {one.name} was killed with SIGKILL. The client's next write failed: {why[:150]}"
        )

    def _fail_over(self, home: Home, noticed: Noticed, door: ConsoleDoor | None) -> DemoRun:
        tell, where, name = self.narrator, f"--home {self.stage.settings.home}", noticed.proposal.name
        tell.scene("The responder reads what is proposed, and says go")
        tell.command(RESPONDER, f"mimrun proposal take {name} {where}")
        plan = proposal_plan(home, name)
        tell.plan(plan)
        direct = self.stage.engine.launcher is None
        taken = take_proposal(home, identify(home.people(), None), name, plan.digest, direct=direct)
        run = DemoRun(home, self.stage, tell, plan, taken)
        run.go_on()
        run.pass_gate(door, interactive=self.interactive)
        if run.state.waits_on == "manual":
            tell.scene("A manual step is signed for")
            tell.command(SERVICE_DESK, f"mimrun attest {run.name} -e link={LINK} --as {SERVICE_DESK} {where}")
            step = run.sign({"link": LINK})
            tell.tell(f"The service desk says that '{step}' is done, and leaves the link as evidence.")
            run.go_on()
        return run

    def _conclude(self, run: DemoRun, lab: FailoverLab, alarm: Alarm, noticed: Noticed) -> Report:
        seen = self._look(run, lab, alarm, noticed)
        evidence = prove(run.home, run.state.incident, self.narrator)
        learned = learn(run, self.narrator) if seen.settled is not None else None
        checked = verify_log(self.stage.settings)
        proof = fence_proof(run.plan, run.entries())
        return Report(
            demo="failover",
            home=str(self.stage.settings.home),
            run=run.name,
            incident=run.state.incident,
            mode=run.state.mode,
            begin=self.died_at,
            timeline=self._timeline(run, noticed, seen),
            held=(*_held(run, seen, proof, checked), *evidence.held(), *(learned.held() if learned else ())),
            figures={
                "alert_ms": after_ms(self.died_at, noticed.alert.at),
                "proposal_ms": after_ms(self.died_at, read_moment(noticed.proposal.said.made_at)),
                "monitored": alarm.watched,
                "proxied": lab.proxy is not None,
                **seen.as_json(),
                "fence": {"fenced": proof.fenced, "proven": proof.proven, "promoting": proof.promoting},
                "log": {"size": checked.size, "root": checked.root, "ok": checked.ok},
                "evidence": evidence.as_json(),
                **(learned.as_json() if learned else {}),
            },
            next=self._next(run, lab, evidence, learned),
        )

    def _look(self, run: DemoRun, lab: FailoverLab, alarm: Alarm, noticed: Noticed) -> Seen:
        """See what has come of it for the client, and have the incident settled where the run succeeded."""
        died, one = lab.died or 0.0, lab.pair.primary
        lost: list[int] | None = None
        settled: Settled | None = None
        if run.state.status is RunStatus.SUCCEEDED:
            patience.came_true(lambda: lab.writer.notes().outage(died) is not None, seconds=BACK_S)
            lost = lab.writer.lost(lab.pair.standby)
        notes = lab.writer.notes()
        outage = notes.outage(died)
        if outage is not None and run.state.status is RunStatus.SUCCEEDED:
            back = self.died_at + timedelta(seconds=outage)
            settled = settle(run, self.narrator, alarm, noticed, died_at=self.died_at, back_at=back)
        return Seen(outage, notes, lost, settled, closed=not loopback.accepts(one.host, one.port))

    def _timeline(self, run: DemoRun, noticed: Noticed, seen: Seen) -> list[Moment]:
        moments = [Moment(self.died_at, "the primary is killed"), *noticed.moments()]
        moments += timeline(run.plan, run.entries())
        if seen.outage is not None:
            back = self.died_at + timedelta(seconds=seen.outage)
            moments.append(Moment(back, "the client's first write is acknowledged again"))
        if seen.settled is not None and seen.settled.over is not None:
            moments.append(Moment(seen.settled.over.at, "the alert is over", seen.settled.over.seq))
        return sorted(moments, key=lambda moment: moment.at)

    def _next(
        self, run: DemoRun, lab: FailoverLab, evidence: Evidence, learned: Learned | None
    ) -> Sequence[tuple[str, str]]:
        where = f"--home {self.stage.settings.home}"
        looks = [
            (f"mimrun status {run.name} {where}", "each step of the run"),
            (f"mimrun incident timeline {run.state.incident} {where}", "from the alert to the review"),
            (f"mimrun replay {run.name} {where}", "the run, told again"),
            (f"mimrun log verify {where}", "that nobody has changed the log"),
            (evidence.command, "the same of the incident, without mimrun"),
            (f"mimrun runbook show {RUNBOOK}", "the runbook"),
        ]
        if learned is not None:
            looks.insert(3, (f"mimrun review show {run.state.incident} {where}", "the review"))
        if not self.stage.keep:
            return (*looks, ("mimrun demo --interactive", "be the change manager yourself"))
        one, two = lab.pair.primary.name, lab.pair.standby.name
        rejoin = f"mimrun run postgres-rejoin cluster={CLUSTER} returning={one} primary_now={two}"
        return (
            *looks,
            (f"{rejoin} -i {lab.inventory_path} {where}", "bring the old primary back as the standby"),
            (f"mimrun demo stop {where}", "stop what was kept up"),
        )


def _held(run: DemoRun, seen: Seen, proof: FenceProof, checked: LogReport) -> Sequence[Held]:
    ended = f"the run has {run.state.status}"
    log = f"the log verifies: {checked.size} entries, root {checked.root[:16]}"
    settled = seen.settled
    return (
        Held(
            ended if not run.state.reason else f"{ended}: {run.state.reason}",
            run.state.status is RunStatus.SUCCEEDED,
        ),
        Held("the client writes again", seen.outage is not None),
        Held("the alert is over", settled is not None and settled.over is not None),
        Held("the incident was contained by a verified step", settled is not None and settled.contained),
        Held(str(proof), proof.holds),
        Held("the old primary's port is closed", seen.closed),
        Held(log, checked.ok),
    )


def _summary(outage: float | None, lost: Sequence[int] | None, notes: Notes) -> str:
    if outage is None or lost is None:
        return "the client did not come back"
    rows = (
        f"all of the {len(notes.acknowledged)} rows that were acknowledged are there"
        if not lost
        else f"{len(lost)} of {len(notes.acknowledged)} acknowledged rows are lost: replication was asynchronous"
    )
    return f"outage {outage:.1f} s, from the primary's death to the next acknowledged write; {rows}"
