"""The log's file and database on the command line: up to date from an old one, to PostgreSQL, and back."""

from __future__ import annotations

import json
import stat
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
    refused = desk("note", "a word")
    assert (refused.code, f"put back {desk.home / 'blob.key'}" in refused.err) == (6, True), refused.err
    kept = f"file:{desk.folder / 'kept.key'}"
    assert desk("note", "a word", MIMRUN_BLOB_KEY=kept).code == 0
    (desk.folder / "kept.key").write_text("12" * 32)
    wrong = desk("note", "a word", MIMRUN_BLOB_KEY=kept)
    assert (wrong.code, "is not the one of the log" in wrong.err) == (6, True)
    assert desk("runs", MIMRUN_BLOB_KEY="hunter2").code == 2
    assert "hunter2" not in desk("runs", MIMRUN_BLOB_KEY="hunter2").err


@pytest.mark.parametrize(
    ("key", "said"), [("", "is missing: put back"), ("12" * 32, "is not the one of the log")]
)
def test_a_responder_without_the_key_sees_what_happened_and_can_prove_it(
    desk: Desk, key: str, said: str
) -> None:
    assert desk.run(desk.runbook(mark("one") + GATE + mark("two"))).code == 3
    run, size = desk.status()["run"], desk.size()
    (desk.home / "blob.key").rename(desk.folder / "kept.key")
    if key:
        (desk.home / "blob.key").write_text(key)
    for words in (["log", "show"], ["log", "show", "--blobs"], ["runs"], ["status"], ["status", "--json"]):
        shown = desk(*words)
        assert (shown.code, run in shown.out) == (0, True), shown.err
    assert said in desk("log", "show", "--blobs").out
    assert said in " ".join(desk("status").out.split())
    (one, *_) = (
        line
        for line in map(json.loads, desk("log", "show", "--blobs", "--json").out.splitlines())
        if line["blobs"]
    )
    assert all(said in why for why in one["unread"].values())
    assert set(one["blobs"].values()) == {None}

    checked = desk("log", "verify")
    assert (checked.code, "every entry is intact, and the content of" in checked.out) == (1, True), (
        checked.out
    )
    assert said in " ".join(checked.out.split())
    as_json = desk("log", "verify", "--json").json
    assert (as_json["ok"], as_json["flaws"], as_json["unread"] > 0) == (False, [], True)
    with_blobs = desk("log", "export", "all", "-o", "all.mimlog")
    assert (with_blobs.code, "--no-blobs" in with_blobs.err) == (6, True), with_blobs.err
    assert not (desk.folder / "all.mimlog").exists()
    for words in (["-o", "all.mimlog", "--no-blobs"], ["--format", "jsonl", "-o", "all.jsonl"]):
        bare = desk("log", "export", "all", *words)
        assert (bare.code, "nothing about this is recorded" in bare.err) == (0, True), bare.err
    assert desk("log", "verify", "all.mimlog").code == 0

    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    assert (checks["log"]["ok"], checks["blob key"]["ok"]) == (True, False)
    assert said in checks["blob key"]["found"]
    for words in (
        ["approve", "--as", "alex", "--yes"],
        ["resume", "--direct"],
        ["run", "--direct", "--yes", desk.runbook(mark("three"), version="1.0.1")],
        ["worker", "--once"],
        ["note", "a word"],
    ):
        refused = desk(*words)
        assert (refused.code, "Traceback" in refused.err) == (6, False), (words, refused.err)
        assert said in " ".join(refused.err.split()), words
    told = desk("init", "--no-prefect")
    assert (told.code, said in told.out) == (0, True), told.err
    assert desk.marks() == ["one"]
    assert (desk.home / "blob.key").exists() is bool(key)

    (desk.folder / "kept.key").rename(desk.home / "blob.key")
    assert desk.size() == size
    assert desk("log", "verify").code == 0
    assert desk("approve", "--as", "alex", "--yes").code == 0


def test_keys_that_others_can_read_are_named_and_keep_nobody_from_working(desk: Desk) -> None:
    assert desk("init", "--no-prefect").code == 0
    names = {check["name"] for check in desk("doctor", "--json").json}
    assert not [name for name in names if name == "blob key" or name.startswith("rights to")]
    (pem,) = (desk.home / "signer").glob("*.pem")
    for file, mode in ((desk.home / "blob.key", 0o640), (pem, 0o604)):
        file.chmod(mode)
    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    for file, said in ((desk.home / "blob.key", "0640"), (pem, "0604")):
        check = checks[f"rights to {file.name}"]
        assert (check["ok"], check["cure"]) == (False, f"chmod 600 {file}")
        assert f"{file} (mode {said})" in check["found"]
    assert desk.run(desk.runbook(mark("one"))).code == 0
    assert stat.S_IMODE((desk.home / "blob.key").stat().st_mode) == 0o640
    kept = desk.folder / "elsewhere.key"
    kept.write_bytes((desk.home / "blob.key").read_bytes())
    kept.chmod(0o644)
    checks = {check["name"]: check for check in desk("doctor", "--json", MIMRUN_BLOB_KEY=f"file:{kept}").json}
    assert str(kept) in checks["rights to elsewhere.key"]["cure"]


@pytest.mark.needs("postgres")
def test_a_log_goes_to_postgresql_with_a_run_that_waits_and_back_again(desk: Desk, schema: Schema) -> None:
    waiting = desk.run(desk.runbook(mark("one") + GATE + mark("two")))
    assert waiting.code == 3
    size = desk.size()
    owner = f"{schema.owner.url}?schema={schema.name}"
    password = {"MIMRUN_STORE_PASSWORD": schema.owner.password}
    assert desk("store", "copy", "--to", "elsewhere.db").code == 2
    moved = desk("store", "copy", "--to", owner, **password)
    assert moved.code == 0, moved.err
    assert f"next: export MIMRUN_STORE='{owner}'" in moved.out
    # The file is read on, and added to no more.
    before = root(desk)
    last = [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()][-2:]
    assert [(entry["kind"], entry["body"].get("to")) for entry in last] == [
        ("log.moved", schema.owner.name),
        ("log.heads", None),
    ]
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
    missing = f"the key of the log's blobs is missing: put back {desk.folder / 'another' / 'blob.key'}"
    assert missing in another.out, another.err
    # From a machine without the key the log is verified where it lies.
    assert desk("runs", "--home", "another", **there).code == 0
    checked = desk("log", "verify", "--json", "--home", "another", **there)
    assert (checked.code, checked.json["flaws"], checked.json["unread"] > 0) == (1, [], True)
    assert checked.json["root"] == root(desk, **there)
    refused = desk("note", "a word", "--home", "another", **there)
    assert (refused.code, missing in " ".join(refused.err.split())) == (6, True), refused.err
    (desk.folder / "another" / "blob.key").write_bytes((desk.home / "blob.key").read_bytes())
    assert desk("runs", "--home", "another", **there).code == 0

    as_owner = {"MIMRUN_STORE": owner, **password}
    (desk.folder / "back").mkdir()
    back = desk("store", "copy", "--to", "back/log.db", "--json", **as_owner)
    assert back.code == 0, back.err
    assert back.json["size"] > size
    assert root(desk, **there) == root(desk, MIMRUN_HOME=str(desk.folder / "back")) == back.json["root"]
    late = desk("note", "too late", **there)
    assert (late.code, "back/log.db; set MIMRUN_STORE" in late.err) == (6, True), late.err


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

    def begin(*_: object) -> None:
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
