"""`kill -9` in the middle of a real failover: one promotion, one primary, a log that verifies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.crash import Choice, appends_until_death, execute_and_die, the
from builders.runs import ALEX, PEOPLE, RESPONDER

from mimrun.app.decisions import attest, decide, pending_gate
from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run, load_state
from mimrun.connector import Effect
from mimrun.lab import folder as lab_folder
from mimrun.lab import haproxy
from mimrun.lab.failover import FailoverLab
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind, StepIntent, StepOutcome
from mimrun.log.proof.verify import verify
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.settings import Settings

pytestmark = [pytest.mark.needs("postgres", "sshd")]

RUNBOOK = Path(__file__).parents[2] / "runbooks" / "containment" / "postgres-failover.yaml"


@dataclass(frozen=True)
class Failover:
    """A pair whose primary is dead, and a run that is to fail it over."""

    lab: FailoverLab
    settings: Settings
    run: str

    def state(self) -> RunState:
        with open_home(self.settings) as home:
            return load_state(home, self.run)

    def execute(self) -> None:
        execute_run(self.settings, self.run)

    def decide(self) -> None:
        """Do what people do: approve the gate, sign the manual step."""
        state = self.state()
        with open_home(self.settings) as home:
            if state.status is RunStatus.WAITING and state.waits_on == "gate":
                pending = pending_gate(home, self.run)
                if not pending.asked.votes:
                    decide(home, pending, ALEX, "approved", digest=pending.request.digest)
            elif state.status is RunStatus.WAITING and not state.manuals[state.waits_at].attested:
                attest(home, self.run, ALEX, {"link": "https://portal.example.org/42"})

    def finish(self) -> RunState:
        """Go on until the run ends."""
        for _ in range(12):
            if self.state().status in TERMINAL:
                break
            self.decide()
            self.execute()
        return self.state()


@pytest.fixture
def failover(request: pytest.FixtureRequest) -> Iterator[Failover]:
    with lab_folder.temporary() as folder, FailoverLab(folder / "parts", net="127.0.51", rate=20) as lab:
        lab.kill_primary()
        settings = Settings(home=folder / "home")
        lay_home(settings)
        settings.people.write_text(PEOPLE)
        balanced = "true" if haproxy.is_installed() else "false"
        with open_home(settings) as home:
            inputs = [f"cluster={lab.cluster}", f"balanced={balanced}"]
            plan = prepare_plan(home, str(RUNBOOK), inputs, [lab.inventory_path])
            run = create_run(home, plan, RESPONDER)
        yield Failover(lab, settings, run)


def check(failover: Failover) -> None:
    state = failover.finish()
    assert state.status is RunStatus.SUCCEEDED, state.reason
    # A timeline begins with each promotion: the first was 1, so 2 means that there was exactly one.
    timeline = failover.lab.pair.standby.sql("select timeline_id from pg_control_checkpoint()")
    walfile = failover.lab.pair.standby.sql("select pg_walfile_name(pg_current_wal_lsn())")
    assert (timeline, walfile[:8]) in {("2", "00000002"), ("1", "00000002")}
    assert not failover.lab.pair.primary.is_running(), "two primaries"
    assert not state.in_doubt(), "everything in this runbook can be repeated or probed"
    with open_home(failover.settings) as home:
        assert verify(home.store).ok
        entries = list(home.store.entries(run=failover.run))
    fenced = [e.seq for e in entries if isinstance(e.body, StepOutcome) and e.step == _step(entries, "fence")]
    promoted = [e.seq for e in entries if e.step == _step(entries, "promote") and e.kind is Kind.STEP_INTENT]
    assert fenced
    assert min(fenced) < min(promoted), "the old primary is fenced before anything is promoted"
    once = [e for e in entries if isinstance(e.body, StepIntent) and e.body.effect is Effect.ONCE]
    assert not once


def _step(entries: Sequence[object], word: str) -> str:
    for entry in entries:
        if getattr(entry, "kind", None) is Kind.STEP_STARTED and entry.body.name.lower().startswith(word):  # type: ignore[attr-defined]
            return str(entry.step)  # type: ignore[attr-defined]
    raise AssertionError(f"no step {word}")


def of(kind: Kind, action: str) -> Choice:
    """Choose the append that has an entry of this kind for this action; outcomes follow their intent."""
    begun: set[tuple[str, str]] = set()

    def choose(_: int, drafts: Sequence[Draft]) -> bool:
        for draft in drafts:
            if isinstance(draft.body, StepIntent) and draft.body.action == action:
                begun.add((draft.step, draft.target))
        return any(draft.kind is kind and (draft.step, draft.target) in begun for draft in drafts)

    return choose


@pytest.mark.parametrize(
    ("kind", "action", "before"),
    [
        (Kind.STEP_INTENT, "postgres.promote", False),
        (Kind.STEP_OUTCOME, "postgres.promote", True),
        (Kind.STEP_OUTCOME, "haproxy.enable", True),
    ],
    ids=["promotion intended and not begun", "promoted and not recorded", "clients sent and not recorded"],
)
def test_kill_at_the_worst_moments_of_a_failover_promotes_once(
    failover: Failover, kind: Kind, action: str, before: bool
) -> None:
    killed = False
    for _ in range(4):
        killed = killed or execute_and_die(failover.execute, of(kind, action), before=before)
        if killed:
            break
        failover.decide()
    assert killed
    check(failover)


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(1, 60))
def test_kill_after_every_append_of_a_failover_promotes_once(failover: Failover, number: int) -> None:
    left = number
    while failover.state().status not in TERMINAL:
        made = appends_until_death(failover.execute, the(left), before=False)
        if made is None:
            break
        left -= made
        failover.decide()
    check(failover)
