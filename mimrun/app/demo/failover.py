"""The demo's main story: the primary of a real PostgreSQL pair dies, and people fail it over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from mimrun.app.demo.evidence import Evidence, prove
from mimrun.app.demo.report import FenceProof, Held, Moment, Report, fence_proof, timeline
from mimrun.app.demo.run import DemoRun, Narrator
from mimrun.app.demo.stage import RESPONDER, SERVICE_DESK, Stage
from mimrun.app.home import Home, open_home
from mimrun.app.plans import prepare_plan
from mimrun.app.records import verify_log
from mimrun.errors import LabError
from mimrun.lab import loopback, patience
from mimrun.lab.failover import FailoverLab
from mimrun.lab.writer import Notes
from mimrun.log.moment import utc_now
from mimrun.log.proof.verify import Report as LogReport
from mimrun.run.transitions import RunStatus

RUNBOOK: Final = "postgres-failover"
CLUSTER: Final = "demo"
LINK: Final = "https://portal.example.org/incidents/postgres-failover"
ROWS: Final = 40
"""Rows that the client has written before the primary dies."""
BACK_S: Final = 10.0
"""Seconds that the client gets to come back after the run."""


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
        try:
            self._set_up(lab)
            self._break(lab)
            with open_home(self.stage.settings) as home:
                run = self._fail_over(home, lab)
                report = self._conclude(run, lab)
            if self.stage.keep:
                lab.keep()
                self.stage.note_kept()
            return report
        finally:
            lab.stop()

    def _set_up(self, lab: FailoverLab) -> None:
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

    def _fail_over(self, home: Home, lab: FailoverLab) -> DemoRun:
        tell, where = self.narrator, f"--home {self.stage.settings.home}"
        inputs = [f"cluster={CLUSTER}", *([] if lab.proxy else ["balanced=false"])]
        tell.scene("The responder reads the plan and says go")
        tell.command(RESPONDER, f"mimrun run {RUNBOOK} {' '.join(inputs)} -i {lab.inventory_path} {where}")
        plan = prepare_plan(home, RUNBOOK, inputs, [lab.inventory_path])
        tell.plan(plan)
        run = DemoRun(home, self.stage, tell, plan)
        run.go_on()
        run.pass_gate(interactive=self.interactive)
        if run.state.waits_on == "manual":
            tell.scene("A manual step is signed for")
            tell.command(SERVICE_DESK, f"mimrun attest {run.name} -e link={LINK} --as {SERVICE_DESK} {where}")
            name = run.sign({"link": LINK})
            tell.tell(f"The service desk says that '{name}' is done, and leaves the link as evidence.")
            run.go_on()
        return run

    def _conclude(self, run: DemoRun, lab: FailoverLab) -> Report:
        died = lab.died or 0.0
        lost: list[int] | None = None
        if run.state.status is RunStatus.SUCCEEDED:
            patience.came_true(lambda: lab.writer.notes().outage(died) is not None, seconds=BACK_S)
            lost = lab.writer.lost(lab.pair.standby)
        notes = lab.writer.notes()
        outage = notes.outage(died)
        proof = fence_proof(run.plan, run.entries())
        evidence = prove(run.home, run.state.incident, self.narrator)
        checked = verify_log(self.stage.settings)
        one = lab.pair.primary
        closed = not loopback.accepts(one.host, one.port)
        return Report(
            demo="failover",
            home=str(self.stage.settings.home),
            run=run.name,
            incident=run.state.incident,
            mode=run.state.mode,
            begin=self.died_at,
            timeline=self._timeline(run, outage),
            held=(*self._held(run, outage, proof, checked, closed=closed), *evidence.held()),
            figures={
                "outage_ms": None if outage is None else round(outage * 1000),
                "acknowledged": len(notes.acknowledged),
                "failed_writes": len(notes.failed),
                "lost": None if lost is None else len(lost),
                "proxied": lab.proxy is not None,
                "fence": {"fenced": proof.fenced, "proven": proof.proven, "promoting": proof.promoting},
                "log": {"size": checked.size, "root": checked.root, "ok": checked.ok},
                "evidence": evidence.as_json(),
                "summary": _summary(outage, lost, notes),
            },
            next=self._next(run, lab, evidence),
        )

    def _timeline(self, run: DemoRun, outage: float | None) -> list[Moment]:
        moments = [Moment(self.died_at, "the primary is killed"), *timeline(run.plan, run.entries())]
        if outage is not None:
            back = self.died_at + timedelta(seconds=outage)
            moments.append(Moment(back, "the client's first write is acknowledged again"))
        return sorted(moments, key=lambda moment: moment.at)

    def _held(
        self,
        run: DemoRun,
        outage: float | None,
        proof: FenceProof,
        checked: LogReport,
        *,
        closed: bool,
    ) -> Sequence[Held]:
        ended = f"the run has {run.state.status}"
        log = f"the log verifies: {checked.size} entries, root {checked.root[:16]}"
        return (
            Held(
                ended if not run.state.reason else f"{ended}: {run.state.reason}",
                run.state.status is RunStatus.SUCCEEDED,
            ),
            Held("the client writes again", outage is not None),
            Held(str(proof), proof.holds),
            Held("the old primary's port is closed", closed),
            Held(log, checked.ok),
        )

    def _next(self, run: DemoRun, lab: FailoverLab, evidence: Evidence) -> Sequence[tuple[str, str]]:
        where = f"--home {self.stage.settings.home}"
        looks = [
            (f"mimrun status {run.name} {where}", "each step of the run"),
            (f"mimrun log show {run.name} {where}", "what was done, entry by entry"),
            (f"mimrun log verify {where}", "that nobody has changed it"),
            (evidence.command, "the same of the incident, without mimrun"),
            (f"mimrun runbook show {RUNBOOK}", "the runbook"),
        ]
        if not self.stage.keep:
            return (*looks, ("mimrun demo --interactive", "be the change manager yourself"))
        one, two = lab.pair.primary.name, lab.pair.standby.name
        rejoin = f"mimrun run postgres-rejoin cluster={CLUSTER} returning={one} primary_now={two}"
        return (
            *looks,
            (f"{rejoin} -i {lab.inventory_path} {where}", "bring the old primary back as the standby"),
            (f"mimrun demo stop {where}", "stop what was kept up"),
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
