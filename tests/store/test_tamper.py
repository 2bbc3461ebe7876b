"""Tampering with the file itself: found, at the entry, and the file is left as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.errors import StoreError, TamperError
from mimrun.log.merkle import leaf_hash, root
from mimrun.log.proof.verify import Known, Lines, Report, verify
from mimrun.log.sqlite import schema
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, note, started, ticking

COUNT = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of twelve entries, eleven of them with a blob. Tests work on copies."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    create_log(path, ORIGIN, ACTOR, clock=ticking())
    with SqliteStore(path, clock=ticking()) as store:
        store.append([note(f"note number {n:02d}", f"INC-{n % 3}", "run-1") for n in range(COUNT - 1)])
    return path


@pytest.fixture
def copy(log: Path, tmp_path: Path) -> Path:
    shutil.copy(log.with_name("blob.key"), tmp_path)
    return Path(shutil.copy(log, tmp_path / "copy.db"))


def check(path: Path, known: Known | None = None) -> Report:
    reader = LogReader(path)
    try:
        return verify(reader, known=known)
    finally:
        reader.close()


def tamper(path: Path, *statements: str, rows: Callable[[sqlite3.Connection], None] | None = None) -> None:
    """Change a copy as somebody would who may write the file: the triggers go first."""
    db = sqlite3.connect(path)
    for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
        db.execute(f"drop trigger {name}")
    for statement in statements:
        db.execute(statement)
    if rows is not None:
        rows(db)
    for sql in schema.definitions().values():
        if sql is not None and sql.startswith("CREATE TRIGGER"):
            db.execute(sql)
    db.commit()
    db.execute("pragma wal_checkpoint(truncate)").fetchall()
    db.close()


def bytes_of(path: Path, table: str, column: str) -> list[bytes]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [value for (value,) in db.execute(f"select {column} from {table} order by rowid")]
    finally:
        db.close()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_untouched_log_is_intact_and_verifying_does_not_touch_it(copy: Path) -> None:
    before = digest(copy)
    report = check(copy)
    assert report.ok, str(report)
    assert (report.log, report.size, report.incidents, report.blobs) == (ORIGIN, COUNT, 3, COUNT - 1)
    assert digest(copy) == before
    assert json.loads(canonical.encode(report.as_json()))["root"] == report.root
    assert f"intact; size {COUNT}, root {report.root}" in str(report)


def test_a_copy_on_read_only_media_is_verified(copy: Path) -> None:
    reader = LogReader(copy, frozen=True)
    assert verify(reader).ok
    reader.close()
    assert sorted(file.name for file in copy.parent.iterdir()) == ["blob.key", "copy.db"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_flipped_byte_of_an_entry_is_found_at_that_entry(
    log: Path, tmp_path: Path, data: st.DataObject
) -> None:
    entries = bytes_of(log, "entry", "data")
    seq = data.draw(st.integers(1, COUNT))
    offset = data.draw(st.integers(0, len(entries[seq - 1]) - 1))
    image = bytearray(log.read_bytes())
    at = image.index(entries[seq - 1])
    image[at + offset] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.db"
    path.write_bytes(image)
    shutil.copy(log.with_name("blob.key"), tmp_path)
    report = check(path)
    assert [flaw.seq for flaw in report.flaws] == [seq], str(report)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_flipped_byte_of_a_blob_is_found_as_that_entry_s_blob(
    log: Path, tmp_path: Path, data: st.DataObject
) -> None:
    values = bytes_of(log, "blob", "data")
    number = data.draw(st.integers(0, len(values) - 1))
    image = bytearray(log.read_bytes())
    at = image.index(values[number])
    image[at + data.draw(st.integers(0, len(values[number]) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.db"
    path.write_bytes(image)
    shutil.copy(log.with_name("blob.key"), tmp_path)
    report = check(path)
    assert [(flaw.seq, flaw.check) for flaw in report.flaws] == [(number + 2, "blob")], str(report)
    assert "the entry itself is" in str(report)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_anywhere_never_passes_for_another_record(
    log: Path, tmp_path: Path, data: st.DataObject
) -> None:
    # Free space and counters of the file may change without meaning; entries and blobs may not.
    image = bytearray(log.read_bytes())
    image[data.draw(st.integers(0, len(image) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.db"
    path.write_bytes(image)
    shutil.copy(log.with_name("blob.key"), tmp_path)
    try:
        report = check(path)
    except StoreError:
        return
    if report.ok:
        assert bytes_of(path, "entry", "data") == bytes_of(log, "entry", "data")
        assert sorted(bytes_of(path, "blob", "data")) == sorted(bytes_of(log, "blob", "data"))


@pytest.mark.parametrize(
    ("statement", "seq", "kind"),
    [
        ("update entry set leaf = zeroblob(32) where seq = 5", 5, "leaf"),
        ("update entry set data = cast(replace(data, 'u:7', 'u:8') as blob) where seq = 5", 5, "leaf"),
        ("update entry set data = 'gone' where seq = 5", 5, "bytes"),
        ("update entry set data = '' where seq = 5", 5, "bytes"),
        ("delete from entry where seq = 5", 5, "missing"),
        ("delete from entry where seq between 5 and 8", 5, "missing"),
        ("delete from entry where seq = 1", 1, "missing"),
        ("delete from entry where seq = 12", 12, "missing"),
        ("update entry set run = 'run-2' where seq = 5", 5, "column"),
        ("update entry set inc = '' where seq = 5", 5, "column"),
        ("update entry set kind = 'run.ended' where seq = 5", 5, "column"),
        ("update entry set seq = 13 where seq = 5", 5, "missing"),
        ("insert into entry select 13, data, leaf, kind, inc, run from entry where seq = 5", 13, "place"),
        ("update head set size = 11", 0, "head"),
        ("update head set leaf = 'ab'", 12, "link"),
        ("update head set frontier = zeroblob(64)", 0, "head"),
        ("delete from head", 0, "head"),
        ("update incident_head set iseq = 9 where inc = 'INC-1'", 0, "head"),
        ("delete from blob where rowid = 4", 5, "blob"),
        ("insert into blob select zeroblob(32), key, 'planted' from blob where rowid = 4", 0, "blob"),
        ("update blob set data = 'other words' where rowid = 4", 5, "blob"),
    ],
)
def test_a_change_in_the_tables_is_named(copy: Path, statement: str, seq: int, kind: str) -> None:
    tamper(copy, statement)
    report = check(copy)
    assert (report.flaws[0].seq, report.flaws[0].check) == (seq, kind), str(report)
    assert "not intact" in str(report)


def test_a_missing_blob_is_also_named_at_its_entry(copy: Path) -> None:
    tamper(copy, "delete from blob where rowid = 4")
    assert "entry 5: its blob 'text' is missing" in str(check(copy))


def test_two_swapped_entries_are_named(copy: Path) -> None:
    tamper(
        copy,
        "update entry set seq = -1 where seq = 5",
        "update entry set seq = 5 where seq = 6",
        "update entry set seq = 6 where seq = -1",
    )
    assert [(f.seq, f.check) for f in check(copy).flaws] == [(5, "place"), (6, "place")]


def test_an_index_that_hides_an_entry_is_found(copy: Path) -> None:
    tamper(
        copy,
        "pragma writable_schema = on",
        "update sqlite_schema set sql = replace(sql, \"where run <> ''\", \"where run <> '' and seq <> 5\")"
        " where name = 'entry_run'",
    )
    tamper(copy, "reindex entry_run")
    report = check(copy)
    # SQLite sees nothing wrong with an index that was defined so, but we know how it was made.
    assert "entry_run is not defined as it was made" in str(report)


def test_a_missing_trigger_is_found(copy: Path) -> None:
    db = sqlite3.connect(copy)
    db.execute("drop trigger entry_not_updated")
    db.close()
    assert "entry_not_updated is not defined as it was made" in str(check(copy))


def test_missing_triggers_are_one_flaw_that_names_them(copy: Path) -> None:
    db = sqlite3.connect(copy)
    db.execute("drop trigger entry_not_updated")
    db.execute("drop trigger entry_not_deleted")
    db.close()
    (flaw,) = check(copy).flaws
    said = "2 tables, indexes and triggers are not defined as they were made: entry_not_deleted, entry_not_updated"
    assert said in flaw.detail


def edit_and_link_anew(db: sqlite3.Connection) -> None:
    """Change entry 5 and redo every hash and link behind it, and the notes of the end."""
    ends: dict[str, tuple[int, str]] = {}
    leaves: list[bytes] = []
    for seq, data in db.execute("select seq, data from entry order by seq").fetchall():
        value = json.loads(data)
        if seq == 5:
            value["actor"]["id"] = "u:8"
        if seq > 5:
            value["prev"] = leaves[-1].hex()
            value["iprev"] = ends[value["inc"]][1]
        new = canonical.encode(value)
        leaves.append(leaf_hash(new))
        ends[value["inc"]] = (value["iseq"], leaves[-1].hex())
        db.execute("update entry set data = ?, leaf = ? where seq = ?", (new, leaves[-1], seq))
    for inc, (_, leaf) in ends.items():
        db.execute("update incident_head set leaf = ? where inc = ?", (leaf, inc))
    peaks = root(leaves[:8]) + root(leaves[8:])
    db.execute("update head set leaf = ?, frontier = ?", (leaves[-1].hex(), peaks))


def test_a_log_rewritten_with_all_its_hashes_shows_only_against_a_noted_root(copy: Path) -> None:
    noted = check(copy)
    tamper(copy, rows=edit_and_link_anew)
    alone = check(copy)
    assert alone.ok, str(alone)
    assert "not proven: " in str(alone)
    assert "has not written it anew, nor cut it at its end" in str(alone)
    report = check(copy, Known(noted.size, noted.root))
    assert [(flaw.seq, flaw.check) for flaw in report.flaws] == [(0, "anchor")]


@pytest.mark.parametrize("size", [1, 4, 5, 11, 12])
def test_a_noted_root_proves_the_entries_up_to_it_and_no_more(log: Path, copy: Path, size: int) -> None:
    known = Known(size, root(bytes_of(log, "entry", "leaf")[:size]).hex())
    assert check(copy, known).ok
    assert f"entries up to {size} are those that were noted earlier" in str(check(copy, known))
    tamper(copy, rows=edit_and_link_anew)
    assert check(copy, known).ok == (size < 5)


def test_an_end_cut_off_with_the_note_of_it_shows_only_against_a_noted_size(copy: Path) -> None:
    noted = check(copy)

    def cut(db: sqlite3.Connection) -> None:
        db.execute("delete from entry where seq = 12")
        leaves = [leaf for (leaf,) in db.execute("select leaf from entry order by seq")]
        peaks = root(leaves[:8]) + root(leaves[8:10]) + leaves[10]
        db.execute("update head set size = 11, leaf = ?, frontier = ?", (leaves[-1].hex(), peaks))
        (data,) = db.execute("select data from entry where inc = 'INC-1' order by seq desc").fetchone()
        db.execute("delete from blob where rowid = 11")
        iseq = json.loads(data)["iseq"]
        db.execute(
            "update incident_head set iseq = ?, leaf = ? where inc = 'INC-1'", (iseq, leaf_hash(data).hex())
        )

    tamper(copy, rows=cut)
    assert check(copy).ok, str(check(copy))
    report = check(copy, Known(noted.size, noted.root))
    assert [(f.seq, f.check) for f in report.flaws] == [(12, "missing")]


def test_reading_refuses_an_entry_that_is_not_what_was_recorded(copy: Path) -> None:
    tamper(copy, "update entry set data = cast(replace(data, 'u:7', 'u:8') as blob) where seq = 5")
    with SqliteStore(copy) as store:
        assert store.entry(4).seq == 4
        with pytest.raises(TamperError, match="log entry 5 is not what was recorded"):
            store.entry(5)
        with pytest.raises(TamperError, match="log entry 5 is not what was recorded"):
            list(store.entries(run="run-1"))


def test_reading_refuses_a_blob_that_is_not_what_was_recorded(copy: Path) -> None:
    tamper(copy, "update blob set data = x'00' where rowid = 4", "delete from blob where rowid = 5")
    with SqliteStore(copy) as store:
        with pytest.raises(TamperError, match="blob 'text' of log entry 5 is not what was recorded"):
            store.blob(store.entry(5), "text")
        with pytest.raises(TamperError, match="blob 'text' of log entry 6 is missing"):
            store.blob(store.entry(6), "text")


def test_lines_are_verified_without_a_store(copy: Path) -> None:
    lines = [data + b"\n" for data in bytes_of(copy, "entry", "data")]
    assert verify(Lines(lines)).ok
    for seq in range(1, COUNT - 1):
        bad = [*lines[: seq - 1], lines[seq - 1].replace(b'"u:7"', b'"u:8"'), *lines[seq:]]
        assert verify(Lines(bad)).flaws[0].seq == seq
        assert verify(Lines([*lines[: seq - 1], *lines[seq:]])).flaws[0].seq == seq
        assert verify(Lines([*lines[:seq], *lines[seq - 1 :]])).flaws[0].seq == seq


def test_a_thousand_bad_entries_are_counted_and_not_all_listed() -> None:
    report = verify(Lines([b"nonsense\n"] * 1500))
    assert (len(report.flaws), report.more) == (1000, 500)
    assert "and 1480 more" in str(report)


def test_a_damaged_end_is_not_appended_to(copy: Path) -> None:
    tamper(copy, "update head set frontier = zeroblob(7)")
    with SqliteStore(copy) as store, pytest.raises(TamperError, match="the end of the log"):
        store.append([started()])
