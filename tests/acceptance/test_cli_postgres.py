"""The commands on a log in PostgreSQL: nothing about them is different, but where the log is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.commands import Desk, mark, until
from builders.log_places import Schema, a_schema, a_server

from mimrun.lab import process
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.log.postgres.schema import GRANTS

pytestmark = pytest.mark.needs("postgres")

SLOW = "  - {name: Slow, local.shell: {cmd: 'echo begun >> marks; while [ ! -e go ]; do sleep 0.05; done; echo ended >> marks'}}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    with a_server("127.0.53") as server:
        yield server


@pytest.fixture
def schema(server: Instance) -> Iterator[Schema]:
    with a_schema(server) as schema:
        yield schema


@pytest.fixture
def desk(tmp_path: Path, schema: Schema) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.env |= {
        "MIMRUN_STORE": f"{schema.owner.url}?schema={schema.name}",
        "MIMRUN_STORE_PASSWORD": schema.owner.password,
    }
    said = made("init")
    assert said.code == 0, said.err
    assert f"incident log postgresql://{schema.server.host}:{schema.server.port}/postgres" in said.out
    schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
    made.env |= {
        "MIMRUN_STORE": f"{schema.database.url}?schema={schema.name}",
        "MIMRUN_STORE_PASSWORD": schema.database.password,
    }
    yield made
    (tmp_path / "go").touch()


def test_a_run_from_beginning_to_end_and_everything_that_shows_it(desk: Desk, schema: Schema) -> None:
    (desk.home / "log.db").unlink()  # the one that the desk was made with
    ran = desk("run", "--direct", "--yes", desk.runbook(mark("one") + mark("two")))
    assert (ran.code, desk.marks()) == (0, ["one", "two"]), ran.err
    assert desk.status()["status"] == "succeeded"
    assert "succeeded" in desk("runs").out
    assert "intact" in desk("log", "verify").out
    assert desk("log", "rebuild").code == 0
    assert schema.execute("select count(*) from entry") == [(desk.size(),)]
    assert not (desk.home / "log.db").exists()
    doctor = desk("doctor").out
    assert f"{schema.server.port}/postgres, {desk.size()} entries" in " ".join(doctor.split())


def test_what_runs_is_shown_as_held_and_is_stopped_from_elsewhere(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    assert desk.status()["status"] == "running"
    assert "is being executed" in desk("resume", "--direct").err
    paused = desk("pause", "--reason", "wait")
    assert paused.code == 0, paused.err
    (desk.folder / "go").touch()
    assert running.wait().code == 3
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["begun", "ended", "last"]


def test_a_fence_that_is_down_is_shown_by_the_doctor(desk: Desk, schema: Schema) -> None:
    schema.execute("alter table entry disable trigger entry_not_changed")
    assert "entry_not_changed is missing or disabled" in " ".join(desk("doctor").out.split())


def test_a_server_that_is_away_is_a_clear_refusal_and_no_password_is_shown(
    desk: Desk, server: Instance
) -> None:
    postmaster = process.postmaster(server.data_dir)
    assert postmaster is not None
    process.crash(postmaster)
    try:
        said = desk("run", "--direct", "--yes", desk.runbook(mark("one")))
        assert said.code == 6
        assert "see that the server runs" in " ".join(said.err.split())
        assert server.client_password_file.read_text().strip() not in said.err
        assert desk.marks() == []
        assert desk("doctor").code != 0
    finally:
        server.control("pg-start")


def test_a_password_in_the_address_is_refused_and_not_repeated(desk: Desk) -> None:
    said = desk("runs", MIMRUN_STORE="postgresql://me:hunter2@db/log")
    assert said.code == 2
    assert "a password stands in the address" in said.err
    assert "hunter2" not in said.err + said.out
    said = desk("runs", MIMRUN_STORE="mysql://me:hunter2@db/log")
    assert said.code == 2
    assert "hunter2" not in said.err + said.out


def test_a_manual_step_is_claimed_ticked_and_confirmed_there_as_well(desk: Desk) -> None:
    step = (
        "  - name: Tell the desk\n"
        "    manual: {instructions: Call them, checklist: [Called], second_person: true}\n"
    )
    assert desk.run(desk.runbook(step + mark("two"))).code == 3
    for words in (("claim", "latest"), ("check", "latest", "1"), ("attest", "latest")):
        assert desk(*words, "--as", "alex").code == 0
    assert desk("confirm", "latest", "--as", "alex").code == 5
    assert desk("confirm", "latest", "--as", "billie").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["two"]
    assert desk("log", "rebuild").code == 0
