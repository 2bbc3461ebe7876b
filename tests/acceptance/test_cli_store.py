"""The log's file and database on the command line: up to date from an old one, to PostgreSQL, and back."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from builders.commands import GATE, Desk, mark, until
from builders.log_places import CLIENT, GRANTS, Schema, a_schema, a_server, server_address
from builders.old_log import old_sqlite_log

from mimrun.app.stores import copy_store
from mimrun.errors import LeaseError
from mimrun.lab.postgres_server import Instance
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import IncidentNote
from mimrun.log.moment import utc_now
from mimrun.settings import Settings

NOTE = "a note of long ago"


@pytest.fixture(scope="module")
def server() -> Generator[Instance]:
    with a_server("127.0.54") as server:
        yield server


@pytest.fixture
def schema(server: Instance) -> Generator[Schema]:
    with a_schema(server) as schema:
        yield schema


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def old_home(desk: Desk) -> None:
    for file in desk.home.glob("log.db*"):
        file.unlink()
    (desk.home / "blob.key").unlink()
    actor = Actor("person", "responder", "cli", "os-user")
    blob = Blob("text", NOTE.encode(), "text")
    drafts = [Draft(actor, IncidentNote(), inc="INC-OLD", blobs=(blob,)) for _ in range(3)]
    old_sqlite_log(desk.home / "log.db", "mimrun", drafts, utc_now)


def root(desk: Desk, **env: str) -> str:
    report = desk("log", "verify", "--json", **env).json
    assert report["ok"], report
    return str(report["root"])


def test_an_old_log_says_what_to_do_is_brought_up_to_date_and_goes_on(desk: Desk) -> None:
    old_home(desk)
    for words in (["runs"], ["log", "show"], ["init", "--no-prefect"]):
        refused = desk(*words)
        assert (refused.code, "`mimrun store migrate`" in refused.err) == (6, True), refused.err
    assert "`mimrun store migrate`" in desk("doctor").out
    done = desk("store", "migrate")
    assert (done.code, "layout 1 is now" in done.out) == (0, True), done.err
    assert "blob.key: keep a copy of it apart" in done.out
    assert NOTE in desk("log", "show", "--blobs").out
    assert not any(NOTE.encode() in file.read_bytes() for file in desk.home.iterdir() if file.is_file())
    assert desk.run(desk.runbook(mark("one"))).code == 0
    root(desk)
    again = desk("store", "migrate", "--json").json
    assert again["before"] == again["now"]


def test_a_log_without_its_key_says_where_to_get_it(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    (desk.home / "blob.key").rename(desk.folder / "kept.key")
    refused = desk("runs")
    assert (refused.code, "copy it from where the log was made" in refused.err) == (6, True)
    kept = f"file:{desk.folder / 'kept.key'}"
    assert desk("runs", MIMRUN_BLOB_KEY=kept).code == 0
    (desk.folder / "kept.key").write_text("12" * 32)
    wrong = desk("runs", MIMRUN_BLOB_KEY=kept)
    assert (wrong.code, "is not the one of the log" in wrong.err) == (6, True)
    assert desk("runs", MIMRUN_BLOB_KEY="hunter2").code == 2
    assert "hunter2" not in desk("runs", MIMRUN_BLOB_KEY="hunter2").err


@pytest.mark.needs("postgres")
def test_a_log_goes_to_postgresql_with_a_run_that_waits_and_back_again(desk: Desk, schema: Schema) -> None:
    waiting = desk.run(desk.runbook(mark("one") + GATE + mark("two")))
    assert waiting.code == 3
    size, before = desk.size(), root(desk)
    owner = f"{schema.owner.url}?schema={schema.name}"
    password = {"MIMRUN_STORE_PASSWORD": schema.owner.password}
    assert desk("store", "copy", "--to", "elsewhere.db").code == 2
    moved = desk("store", "copy", "--to", owner, **password)
    assert moved.code == 0, moved.err
    assert f"next: export MIMRUN_STORE='{owner}'" in moved.out
    # The file is read on, and added to no more.
    assert root(desk) == before
    refused = desk("approve", "--as", "alex", "--yes")
    assert (refused.code, "it goes on at" in refused.err) == (6, True), refused.err
    assert "goes on at" in desk("doctor").out

    schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
    there = {
        "MIMRUN_STORE": f"{schema.database.url}?schema={schema.name}",
        "MIMRUN_STORE_PASSWORD": schema.database.password,
    }
    assert root(desk, **there) == before
    assert desk("approve", "--as", "alex", "--yes", **there).code == 0
    assert desk("resume", "--direct", **there).code == 0
    assert desk.marks() == ["one", "two"]
    assert desk("log", "rebuild", **there).out.startswith("every state is the same")

    another = desk("init", "--no-prefect", "--home", "another", **there)
    assert "missing is the key of the log's blobs: copy blob.key" in another.out, another.err
    assert desk("runs", "--home", "another", **there).code == 6
    (desk.folder / "another" / "blob.key").write_bytes((desk.home / "blob.key").read_bytes())
    assert desk("runs", "--home", "another", **there).code == 0

    as_owner = {"MIMRUN_STORE": owner, **password}
    (desk.folder / "back").mkdir()
    back = desk("store", "copy", "--to", "back/log.db", "--json", **as_owner)
    assert back.code == 0, back.err
    assert back.json["size"] > size
    assert root(desk, **there) == root(desk, MIMRUN_HOME=str(desk.folder / "back")) == back.json["root"]
    late = desk("note", "too late", **there)
    assert (late.code, "goes on elsewhere" in late.err) == (6, True), late.err


@pytest.mark.needs("postgres")
def test_a_copy_that_is_kept_leaves_the_log_as_it_was(desk: Desk, schema: Schema) -> None:
    desk.run(desk.runbook(mark("one")))
    owner = f"{schema.owner.url}?schema={schema.name}"
    kept = desk(
        "store", "copy", "--to", owner, "--keep", "--json", MIMRUN_STORE_PASSWORD=schema.owner.password
    )
    assert (kept.code, kept.json["closed"], kept.json["root"]) == (0, False, root(desk)), kept.err
    assert desk.run(desk.runbook(mark("two"), version="1.0.1")).code == 0
    more = desk("store", "copy", "--to", owner, "--json", MIMRUN_STORE_PASSWORD=schema.owner.password)
    assert (more.json["before"], more.json["closed"]) == (kept.json["size"], True)
    assert more.json["root"] == root(desk)


@pytest.mark.needs("postgres")
def test_a_log_whose_run_is_being_executed_stays(desk: Desk, schema: Schema) -> None:
    steps = (
        "  - {name: S, local.shell: {cmd: 'echo begun >> marks; while ! test -e go; do sleep 0.05; done'}}\n"
    )
    running = desk.begin("run", "--direct", "--yes", desk.runbook(steps))
    until(lambda: desk.marks() == ["begun"])
    owner = f"{schema.owner.url}?schema={schema.name}"
    refused = desk("store", "copy", "--to", owner, MIMRUN_STORE_PASSWORD=schema.owner.password)
    assert (refused.code, "is being executed" in refused.err) == (5, True), refused.err
    (desk.folder / "go").touch()
    assert running.wait().code == 0
    with psycopg.connect(server_address(schema.server)) as db:
        assert db.execute("select 1 from pg_namespace where nspname = %s", (schema.name,)).fetchone() is None


@pytest.mark.needs("postgres")
def test_a_log_stays_whose_run_has_begun_while_it_was_copied(
    desk: Desk, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (
        "  - {name: S, local.shell: {cmd: 'echo begun >> marks; while ! test -e go; do sleep 0.05; done'}}\n"
    )
    running = []

    def begin(_: object) -> None:
        running.append(desk.begin("run", "--direct", "--yes", desk.runbook(steps)))
        until(lambda: desk.marks() == ["begun"])

    # The copy is verified behind the first look for runs, and before the log is held.
    monkeypatch.setattr("mimrun.app.stores._check", begin)
    settings = Settings(home=desk.home, store_password=schema.owner.password)
    with pytest.raises(LeaseError, match="is being executed"):
        copy_store(settings, f"{schema.owner.url}?schema={schema.name}")
    (desk.folder / "go").touch()
    assert running[0].wait().code == 0, "its worker could record how it ended"


def test_where_there_is_no_log_none_is_brought_up_to_date(tmp_path: Path, desk: Desk) -> None:
    said = desk("store", "migrate", "--home", str(tmp_path / "nowhere"))
    assert (said.code, "`mimrun init`" in said.err) == (6, True), said.err
    assert json.loads(desk("store", "migrate", "--json").out)["now"] >= 2
