"""Gates under attack: one person many times at once, edits between the look and the word, words carried elsewhere."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from builders.log_places import BLOB_KEY, Schema, a_schema, a_server
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.world import HOOKS, words

from mimrun.app.decisions import PendingGate, decide, pending_gate
from mimrun.app.home import lay_home
from mimrun.app.identity import Identity
from mimrun.app.plans import draft_plan
from mimrun.app.runs import create_run
from mimrun.errors import GateError, MimrunError, RefusedError
from mimrun.gate.people import Person
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.log.entry import Draft
from mimrun.log.kinds import GateDecided, Kind
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.postgres.schema import GRANTS
from mimrun.settings import Settings

MANY: Final = 64
PEOPLE: Final = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager], accounts: [aromero, aromero-adm, aromero-svc]}
  billie: {roles: [change_manager]}
"""
NO_ROLE: Final = PEOPLE.replace("alex: {roles: [change_manager]", "alex: {roles: [responder]")
ACCOUNTS: Final = ("alex", "aromero", "aromero-adm", "aromero-svc")


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    with a_server("127.0.53") as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A home whose log is in each of the stores."""
    if request.param == "sqlite":
        yield peopled(Bench(tmp_path))
        return
    with a_schema(request.getfixturevalue("server")) as schema:
        yield peopled(on_postgres(tmp_path, schema))


def peopled(bench: Bench) -> Bench:
    bench.settings.people.write_text(PEOPLE)
    return bench


def on_postgres(folder: Path, schema: Schema) -> Bench:
    bench = Bench(folder)
    place, name = schema.database, schema.name
    lay_home(
        Settings(
            home=folder / "shared",
            store=f"{schema.owner.url}?schema={name}",
            store_password=schema.owner.password,
            blob_key=BLOB_KEY.reference,
        )
    )
    schema.execute(GRANTS.format(schema=name, role=CLIENT))
    bench.settings = Settings(
        home=folder / "shared",
        store=f"{place.url}?schema={name}",
        store_password=place.password,
        blob_key=BLOB_KEY.reference,
    )
    return bench


def under(account: str) -> Identity:
    return Identity(Person(account, account, frozenset({"change_manager"})), "os-user")


def look(bench: Bench, run: str) -> PendingGate:
    with bench.home() as home:
        return pending_gate(home, run)


def say(bench: Bench, pending: PendingGate, who: Identity) -> bool:
    """Approve what was looked at; says whether that was taken."""
    try:
        with bench.home() as home:
            decide(home, pending, who, "approved", digest=pending.request.digest)
    except (GateError, RefusedError):
        return False
    return True


def recorded(bench: Bench, run: str) -> int:
    return bench.kinds(run).count(Kind.GATE_DECIDED.value)


def test_sixty_four_approvals_of_one_person_at_once_count_once(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    pending = look(bench, run)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: say(bench, pending, under(ACCOUNTS[n % len(ACCOUNTS)])), range(MANY)))
    assert recorded(bench, run) == sum(taken) > 1, "each of them had looked before any of them was taken"
    verdict = bench.execute(run)
    assert verdict.detail == "'Gate 1' needs 1 change_manager"
    assert words(bench.world) == []
    bench.approve(run, BILLIE)
    assert bench.execute(run).status == "succeeded"
    assert bench.is_intact()


def test_two_processes_that_vote_at_once_are_both_heard(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    children = []
    for who in (ALEX, BILLIE):
        child = os.fork()
        if child == 0:
            code = 9
            try:
                code = 0 if say(bench, look(bench, run), who) else 1
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    assert bench.execute(run).status == "succeeded"
    assert bench.is_intact()


def test_votes_outlive_the_processes_between_them_and_a_voter_who_lost_the_role_does_not(
    bench: Bench,
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    bench.approve(run, ALEX)
    assert bench.execute(run).waits_on == "gate"
    bench.approve(run, BILLIE)
    bench.settings.people.write_text(NO_ROLE)
    assert bench.execute(run).detail == "'Gate 1' needs 1 change_manager"
    assert words(bench.world) == []
    bench.settings.people.write_text(PEOPLE)
    assert bench.execute(run).status == "succeeded"


def carry(bench: Bench, run: str, step: str, body: GateDecided) -> None:
    """Put a word on record as if somebody had said it there, past everything that asks first."""
    with bench.home() as home:
        incident = next(iter(home.store.entries(run=run))).inc
        home.store.append([Draft(ALEX.actor(), body, inc=incident, run=run, step=step)])


def test_a_word_counts_for_no_other_run_gate_or_digest(bench: Bench) -> None:
    nodes = gate("1"), action("2"), gate("3"), action("4")
    first, _ = bench.run(a_plan(bench.world, *nodes))
    second, _ = bench.run(a_plan(bench.world, *nodes))
    digest = look(bench, first).request.digest
    word = GateDecided(
        decision="approved", digest=digest, role="change_manager", reason="", at=write_moment(utc_now())
    )
    carry(bench, second, "1", word)
    carry(bench, first, "3", word)
    for run in (first, second):
        assert bench.execute(run).waits_on == "gate"
    assert words(bench.world) == []
    bench.approve(first)
    assert bench.execute(first).waits_on == "gate", "the word for its first gate is none for its second"
    assert words(bench.world) == ["a:w2"]
    carry(bench, first, "3", word)
    assert bench.execute(first).waits_on == "gate"
    assert words(bench.world) == ["a:w2"]


def test_a_word_from_before_the_clock_was_set_back_counts_for_nothing(tmp_path: Path) -> None:
    bench = peopled(Bench(tmp_path))
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    digest = look(bench, run).request.digest
    ahead = write_moment(utc_now() + timedelta(minutes=10))
    word = GateDecided(decision="approved", digest=digest, role="change_manager", reason="", at=ahead)
    carry(bench, run, "1", word)
    assert bench.execute(run).waits_on == "gate"
    assert words(bench.world) == []


RUNBOOK: Final = """\
schema: mimrun/1
name: race
version: 1.0.0
title: A race
stage: containment
owner: testers
risk: medium
hosts: web
steps:
  - name: Look
    world.read: {}
    register: seen
  - name: It is agreed to
    gate: {change: emergency, approvals: [{role: change_manager}]}
  - name: First
    world.hook: {word: "good-{{ colour }}-{{ seen.words | length }}"}
  - name: Then
    world.once: {word: "then-good-{{ colour }}"}
"""
INVENTORY: Final = "[web]\na world={world} colour=blue\n"
SHOWN: Final = ["a:good-blue-0", "a:then-good-blue"]


ALWAYS: Final = """\
name: frozen
timezone: UTC
closed: [{weekly: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "00:00"}, reason: now}]
"""


class Race:
    """A run that somebody edits around while it is looked at, approved and executed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.bench = Bench(folder)
        self.runbook, self.inventory = folder / "race.yaml", folder / "hosts.ini"

    def begin(self) -> None:
        """Let everything be as it is before the edit."""
        bench = peopled(self.bench)
        self.runbook.write_text(RUNBOOK)
        self.inventory.write_text(INVENTORY.format(world=bench.world))
        bench.settings.policy.unlink(missing_ok=True)
        shutil.rmtree(bench.settings.calendars, ignore_errors=True)
        bench.world.unlink(missing_ok=True)

    def launch(self) -> str:
        settings, catalog = self.bench.settings, self.bench.catalog
        plan = draft_plan(settings, catalog, str(self.runbook), [], [self.inventory])
        # Of a catalog that only tests have, nobody has installed a version.
        plan = type(plan).decode(plan.model_copy(update={"connectors": {}}).encode())
        with self.bench.home() as home:
            run = create_run(home, plan, RESPONDER)
        self.bench.execute(run)
        return run

    def edit(self, what: str) -> None:
        bench = self.bench
        match what:
            case "runbook":
                self.runbook.write_text(RUNBOOK.replace("good", "evil"))
            case "inventory":
                self.inventory.write_text(INVENTORY.format(world=bench.world).replace("blue", "evil"))
            case "facts":
                with bench.world.open("a") as world:
                    world.write("b evil key\n")
            case "people":
                bench.settings.people.write_text(NO_ROLE)
            case "policy":
                bench.settings.policy.write_text(
                    "matrix: {medium: {other: {approvals: [{role: change_manager, count: 2}]}, freeze: none}}\n"
                )
            case _:
                calendars = bench.settings.calendars
                calendars.mkdir(exist_ok=True)
                (calendars / "frozen.yaml").write_text(ALWAYS)


RULES: Final = ("people", "policy", "calendar")
EDITS: Final = ("runbook", "inventory", "facts", *RULES)


def race(here: Race, seed: int) -> None:
    """Edit something at some moment between the look and the end: what runs is what was looked at, or nothing."""
    here.begin()
    rolled = random.Random(seed)
    what, when = rolled.choice(EDITS), rolled.choice(["looked", "approved", "amid", "at once"])
    bench = here.bench
    HOOKS["good-blue-0"] = lambda: here.edit(what) if when == "amid" else None
    run = here.launch()
    pending = look(bench, run)
    if when == "looked":
        here.edit(what)
    with ThreadPoolExecutor(1) as pool:
        edit = pool.submit(here.edit, what) if when == "at once" else None
        with suppress(MimrunError):
            say(bench, pending, ALEX)
        if when == "approved":
            here.edit(what)
        verdict = bench.execute(run)
        if edit is not None:
            edit.result()
    did = [word for word in words(bench.world) if word != "b:evil"]
    assert did == SHOWN[: len(did)], (seed, what, when)
    if what in RULES and when in ("looked", "approved"):
        assert did == [], (seed, what, when)
    if what in RULES and when == "amid":
        assert did == SHOWN[:1], (seed, what, when)
    if what not in RULES:
        assert (verdict.status, did) == ("succeeded", SHOWN), (seed, what, when, verdict)
    if verdict.status == "waiting":  # it has the lock that the next one needs
        bench.cancel(run)
        assert bench.execute(run).status == "cancelled"


def test_an_edit_between_the_look_and_the_end_never_runs(tmp_path: Path) -> None:
    here = Race(tmp_path / "home")
    for seed in range(25):
        race(here, seed)
    assert here.bench.is_intact()


@pytest.mark.heavy
@pytest.mark.timeout(3_000)
def test_a_thousand_edits_between_the_look_and_the_end_never_run(tmp_path: Path) -> None:
    for part in range(20):
        here = Race(tmp_path / str(part))
        for seed in range(50 * part, 50 * (part + 1)):
            race(here, seed)
        shutil.rmtree(tmp_path / str(part))
