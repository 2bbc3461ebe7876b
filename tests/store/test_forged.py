"""What a forger does to a signed log is found, in both databases, at the entry; and what cannot be found is shown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.bundles import alone, flaws_of
from builders.forgers import (
    FIRST,
    KINDS,
    LOG,
    ROOT,
    WITNESS,
    Kind,
    honest,
    linked_anew,
    say,
    signed_anew,
    values,
)
from builders.log_places import File, Place
from builders.written import Written

from mimrun.errors import LogError
from mimrun.log.proof.bundle import export
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Report, Trust
from mimrun.log.proof.verify import verify
from mimrun.log.sqlite import schema as sqlite_schema
from mimrun.log.sqlite.store import create_log
from tests.store.conftest import ACTOR, ticking

OUTSIDE = honest().notes[1].note
"""The checkpoint of size 15, as it lies on another host."""

each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))


def trust_of(kind: Kind, *, outside: bool) -> Trust:
    return Trust(
        root=ROOT.verifying() if "root" in kind.given else None,
        witnesses=(WITNESS.verifying(),) if "witness" in kind.given else (),
        notes=(OUTSIDE,) if outside else (),
    )


def first(report: Report) -> tuple[int, str] | None:
    return (report.flaws[0].seq, report.flaws[0].check) if report.flaws else None


def test_the_honest_log_is_intact() -> None:
    report = verify(
        honest().store, trust=Trust(root=ROOT.verifying(), witnesses=(WITNESS.verifying(),), notes=(OUTSIDE,))
    )
    assert report.ok, str(report)
    assert (report.size, report.findings.signed, report.findings.since) == (20, 20, 15)
    assert len(KINDS) >= 50


@each
def test_what_is_forged_is_named(kind: Kind) -> None:
    report = verify(kind.forge(honest()).store, trust=trust_of(kind, outside=False))
    assert first(report) == kind.found, str(report)


@each
def test_a_checkpoint_kept_elsewhere_finds_what_the_log_alone_does_not_show(kind: Kind) -> None:
    report = verify(kind.forge(honest()).store, trust=trust_of(kind, outside=True))
    if kind.name != "the end is cut off together with its checkpoint":
        assert not report.ok, str(report)
    assert kind.outside is None or first(report) == kind.outside, str(report)


@each
def test_no_good_bundle_comes_out_of_a_forged_log(kind: Kind, tmp_path: Path) -> None:
    log, path = kind.forge(honest()), tmp_path / "x.mimlog"
    try:
        export(log.store, path)
    except LogError:
        return
    mine, theirs = verify_bundle(path, trust=trust_of(kind, outside=False)), alone(path, *words_of(kind))
    assert mine.ok == theirs["ok"], (str(mine), flaws_of(theirs))
    assert kind.found is None or not mine.ok


def words_of(kind: Kind) -> list[str]:
    words = ["--root", ROOT.verifying().vkey] if "root" in kind.given else []
    return [*words, "--witness", WITNESS.verifying().vkey] if "witness" in kind.given else words


def hexadecimal(place: Place, data: bytes) -> str:
    return f"x'{data.hex()}'" if isinstance(place, File) else f"'\\x{data.hex()}'::bytea"


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


TABLES = ("entry", "checkpoint", "head", "incident_head")


def fence(place: Place, *, up: bool) -> None:
    """Take the triggers away, or put them back."""
    if not isinstance(place, File):
        for table in TABLES:
            place.execute(f"alter table {table} {'enable' if up else 'disable'} trigger user")
    elif up:
        for sql in sqlite_schema.definitions().values():
            if sql is not None and sql.startswith("CREATE TRIGGER"):
                place.execute(sql)
    else:
        for (name,) in place.execute("select name from sqlite_schema where type = 'trigger'"):
            place.execute(f"drop trigger {name}")


def statements(place: Place, log: Written) -> Iterator[str]:
    """What it takes to have a log in the tables."""
    yield from (f"delete from {table}" for table in TABLES)
    yield f"update origin set log = {text(log.log)}"
    more, mark = ("", "") if isinstance(place, File) else (", mark", f", {hexadecimal(place, bytes(16))}")
    for row in log.rows_:
        facts = ", ".join(text(str(fact)) for fact in (row.kind, row.inc, row.run))
        data = f"{hexadecimal(place, row.data)}, {hexadecimal(place, row.leaf)}"
        yield (
            f"insert into entry (seq, data, leaf, kind, inc, run{more})"
            f" values ({row.seq}, {data}, {facts}{mark})"
        )
    for one in log.notes:
        yield f"insert into checkpoint (size, note) values ({one.size}, {text(one.note)})"
    head = log.head_
    frontier = hexadecimal(place, head.frontier.encode())
    end = f"1, {head.size}, '{head.leaf}', '{head.ts:%Y-%m-%dT%H:%M:%S.%f}Z', {frontier}"
    yield f"insert into head (id, size, leaf, ts, frontier) values ({end})"
    for inc, last in log.ends.items():
        yield f"insert into incident_head (inc, iseq, leaf) values ('{inc}', {last.iseq}, '{last.leaf}')"


def put(place: Place, log: Written) -> None:
    """Write a log into the tables, as whoever may write them."""
    fence(place, up=False)
    if isinstance(place, File):
        for statement in statements(place, log):
            place.execute(statement)
    else:
        place.execute(";\n".join(statements(place, log)))
    fence(place, up=True)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.db"
    create_log(path, LOG, ACTOR, clock=ticking())
    return path


@pytest.fixture
def file(empty: Path, tmp_path: Path) -> Place:
    for one in empty.parent.iterdir():
        shutil.copy(one, tmp_path / one.name)
    return File(tmp_path / empty.name)


def check(place: Place, kind: Kind) -> None:
    put(place, kind.forge(honest()))
    with place.open() as store:
        alone_ = verify(store, trust=trust_of(kind, outside=False))
        assert first(alone_) == kind.found, str(alone_)
        if kind.outside is not None:
            assert first(verify(store, trust=trust_of(kind, outside=True))) == kind.outside


@each
def test_it_is_found_in_a_file(file: Place, kind: Kind) -> None:
    check(file, kind)


@pytest.mark.needs("postgres")
@pytest.mark.timeout(400)
def test_all_of_it_is_found_in_postgres(schema: Place) -> None:
    for kind in KINDS:
        check(schema, kind)


def test_a_restored_backup_shows_only_against_what_others_kept(file: Place) -> None:
    log = honest()
    put(file, log)
    longer = log.copy()
    say(longer, "later")
    seen = longer.sign(FIRST)
    with file.open() as store:
        assert verify(store).ok
        report = verify(store, trust=Trust(notes=(seen,)))
    assert first(report) == (21, "missing")


def test_what_nobody_outside_has_seen_can_be_changed_without_a_trace() -> None:
    """The claim of docs/explanation/judge-evidence.md, in its honest half: this is not found, by anything."""
    # Whoever has the key changes entry 17, behind the last checkpoint that lies outside, and signs anew.
    log = honest()
    entries = values(log)
    entries[16]["body"]["reason"] = "something else was done"
    forged = linked_anew(log, entries[:-1])
    forged = Written(LOG, forged.rows_, {}, log.notes[:2], forged.ends, forged.head_)
    forged.sign(FIRST, witnesses=[WITNESS])
    report = verify(
        forged.store, trust=Trust(root=ROOT.verifying(), witnesses=(WITNESS.verifying(),), notes=(OUTSIDE,))
    )
    assert report.ok
    assert report.findings.since == 15
    assert "that nothing behind entry 15 was changed" in str(report)
    # The same before entry 15 is found, whatever key the forger has.
    found = verify(
        signed_anew(lambda value: value["body"].update(reason="other"))(honest()).store,
        trust=Trust(notes=(OUTSIDE,)),
    )
    assert first(found) == (0, "anchor")
