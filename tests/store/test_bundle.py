"""Bundles: everything a third party needs is in the file, and any change of it is found."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.proof.bundle import export, verify_bundle
from mimrun.log.proof.verify import Known, Report
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, note, started, ticking


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three incidents, taking turns."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    create_log(path, ORIGIN, ACTOR, clock=ticking())
    with SqliteStore(path, clock=ticking()) as store:
        store.append([note(f"note number {n:02d} é", f"INC-{n % 3}", "run-1") for n in range(20)])
    return path


@pytest.fixture(scope="module")
def whole(log: Path) -> Path:
    path = log.with_name("all.mimlog")
    with SqliteStore(log) as store:
        export(store, path)
    return path


@pytest.fixture(scope="module")
def incident(log: Path) -> Path:
    path = log.with_name("INC-1.mimlog")
    with SqliteStore(log) as store:
        export(store, path, inc="INC-1")
    return path


def member_at(path: Path, name: str) -> tuple[int, bytes]:
    """Where a member's bytes are in the file, and what they are."""
    data = zipfile.ZipFile(path).read(name)
    return path.read_bytes().index(data), data


def rewritten(path: Path, place: Path, **members: bytes | None) -> Path:
    """The same bundle with other members; None leaves one out. Keys have `_` for `.`."""
    new = place / "rewritten.mimlog"
    names = {name.replace("_", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as bundle:
        for info in old.infolist():
            data = names.get(info.filename, old.read(info))
            if data is not None:
                bundle.writestr(info, data)
    return new


def lines(path: Path, name: str = "entries.jsonl") -> list[bytes]:
    with zipfile.ZipFile(path) as bundle:
        return bundle.read(name).splitlines(keepends=True)


def named(report: Report) -> list[tuple[int, str]]:
    return [(flaw.seq, flaw.check) for flaw in report.flaws]


def test_a_bundle_of_the_whole_log_verifies_alone(log: Path, whole: Path) -> None:
    report = verify_bundle(whole)
    assert report.ok, str(report)
    assert (report.log, report.size, report.incidents, report.blobs) == (ORIGIN, 21, 3, 20)
    with SqliteStore(log) as store:
        assert report.root == store.head().root


def test_a_bundle_of_an_incident_holds_its_entries_and_no_others(log: Path, incident: Path) -> None:
    report = verify_bundle(incident)
    assert report.ok, str(report)
    assert (report.scope, report.size, report.blobs) == ("incident INC-1", 7, 7)
    assert {json.loads(line)["inc"] for line in lines(incident)} == {"INC-1"}
    with SqliteStore(log) as store:
        assert verify_bundle(incident, known=Known(store.head().size, store.head().root)).ok
        assert named(verify_bundle(incident, known=Known(store.head().size, "ab" * 32))) == [(0, "anchor")]


def test_the_same_log_gives_the_same_bundle(log: Path, whole: Path, tmp_path: Path) -> None:
    with SqliteStore(log) as store:
        export(store, tmp_path / "all.mimlog")
    assert (tmp_path / "all.mimlog").read_bytes() == whole.read_bytes()


def test_a_bundle_without_blobs_still_proves_its_entries(log: Path, tmp_path: Path) -> None:
    with SqliteStore(log) as store:
        manifest = export(store, tmp_path / "lean.mimlog", blobs=False)
    assert manifest.blobs == 0
    assert b"note number" not in (tmp_path / "lean.mimlog").read_bytes()
    assert verify_bundle(tmp_path / "lean.mimlog").ok


def test_what_a_bundle_says_of_itself_is_what_was_exported(log: Path, tmp_path: Path) -> None:
    with SqliteStore(log) as store:
        manifest = export(store, tmp_path / "x.mimlog", inc="INC-2")
        assert (manifest.entries, manifest.size, manifest.root) == (6, 21, store.head().root)
    with zipfile.ZipFile(tmp_path / "x.mimlog") as bundle:
        assert json.loads(bundle.read("manifest.json"))["digest"] == manifest.digest
        assert "mimrun log verify x.mimlog" in bundle.read("README.txt").decode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_of_an_entry_is_found_at_that_entry(
    whole: Path, incident: Path, tmp_path: Path, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from([whole, incident]))
    entries = lines(path)
    number = data.draw(st.integers(0, len(entries) - 1))
    image = bytearray(path.read_bytes())
    at = image.index(entries[number])
    image[at + data.draw(st.integers(0, len(entries[number]) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "flipped.mimlog"
    flipped.write_bytes(image)
    report = verify_bundle(flipped)
    assert not report.ok
    assert report.flaws[0].seq == json.loads(entries[number])["seq"], str(report)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_of_anything_in_the_bundle_is_found(
    whole: Path, incident: Path, tmp_path: Path, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from([whole, incident]))
    with zipfile.ZipFile(path) as bundle:
        name = data.draw(st.sampled_from(bundle.namelist()))
    start, content = member_at(path, name)
    image = bytearray(path.read_bytes())
    image[start + data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "flipped.mimlog"
    flipped.write_bytes(image)
    with contextlib.suppress(LogError):  # of a manifest that cannot be read any more
        assert not verify_bundle(flipped).ok


@pytest.mark.parametrize("number", [0, 3, 6])
def test_an_entry_left_out_of_an_incident_is_missing(incident: Path, tmp_path: Path, number: int) -> None:
    entries, proofs = lines(incident), lines(incident, "proofs.jsonl")
    del entries[number], proofs[number]
    bad = rewritten(incident, tmp_path, entries_jsonl=b"".join(entries), proofs_jsonl=b"".join(proofs))
    assert verify_bundle(bad).flaws[0].check == "missing"


def test_an_entry_of_another_incident_is_named(
    incident: Path, whole: Path, log: Path, tmp_path: Path
) -> None:
    with SqliteStore(log) as store:
        export(store, tmp_path / "INC-2.mimlog", inc="INC-2")
    other = tmp_path / "INC-2.mimlog"
    entries, proofs = lines(incident), lines(incident, "proofs.jsonl")
    entries[3], proofs[3] = lines(other)[3], lines(other, "proofs.jsonl")[3]
    bad = rewritten(incident, tmp_path, entries_jsonl=b"".join(entries), proofs_jsonl=b"".join(proofs))
    seq = json.loads(entries[3])["seq"]
    assert (seq, "place") in named(verify_bundle(bad))


def test_entries_without_their_proofs_are_not_believed(incident: Path, tmp_path: Path) -> None:
    for proofs in (b"", b"{}\n" * 7, b'{"proof":["zz"],"seq":3}\n' * 7, b'{"proof":"x","seq":"3"}\n' * 7):
        report = verify_bundle(rewritten(incident, tmp_path, proofs_jsonl=proofs))
        assert {flaw.check for flaw in report.flaws} <= {"proof", "place"}
        assert len(report.flaws) >= 7


def test_a_blob_left_out_is_named_at_its_entry(incident: Path, tmp_path: Path) -> None:
    entry = json.loads(lines(incident)[2])
    bad = tmp_path / "bad.mimlog"
    with zipfile.ZipFile(incident) as old, zipfile.ZipFile(bad, "w") as bundle:
        for info in old.infolist():
            if not info.filename.endswith(entry["blobs"][0]["commit"]):
                bundle.writestr(info, old.read(info))
    assert named(verify_bundle(bad)) == [(entry["seq"], "blob")]


def test_plain_lines_are_verified_as_a_whole_log(whole: Path, tmp_path: Path) -> None:
    plain = tmp_path / "all.jsonl"
    plain.write_bytes(b"".join(lines(whole)))
    report = verify_bundle(plain)
    assert report.ok, str(report)
    assert verify_bundle(plain, known=Known(report.size, report.root)).ok
    assert not verify_bundle(plain, known=Known(report.size, "00" * 32)).ok


def test_nothing_is_overwritten_and_nothing_half_made_is_left(log: Path, tmp_path: Path) -> None:
    with SqliteStore(log) as store:
        (tmp_path / "there").write_text("mine")
        with pytest.raises(InputError, match="exists; name a new file"):
            export(store, tmp_path / "there")
        assert (tmp_path / "there").read_text() == "mine"
        with pytest.raises(InputError, match="has no incident 'INC-404'"):
            export(store, tmp_path / "none.mimlog", inc="INC-404")
        assert not (tmp_path / "none.mimlog").exists()
        with pytest.raises(InputError, match="no bundle can be written"):
            export(store, tmp_path / "nowhere" / "x.mimlog")


def test_nothing_is_exported_from_a_log_that_was_changed(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(log.with_name("blob.key"), tmp_path)
    db = sqlite3.connect(log)
    (blob,) = db.execute("select data from blob where rowid = 3").fetchone()
    db.close()
    copy.write_bytes(log.read_bytes().replace(blob[-16:], bytes(16)))
    with SqliteStore(copy) as store:
        with pytest.raises(TamperError, match="cannot be decrypted: what is stored was changed"):
            export(store, tmp_path / "x.mimlog")
        assert not (tmp_path / "x.mimlog").exists()
        assert export(store, tmp_path / "lean.mimlog", blobs=False).entries == 21


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.mimlog"
    path.write_bytes(data)
    if data:
        with pytest.raises(LogError, match="not a bundle"):
            verify_bundle(path)
    else:
        assert verify_bundle(path).size == 0
    with pytest.raises(InputError, match="cannot be read"):
        verify_bundle(tmp_path / "missing.mimlog")


def test_a_hostile_zip_is_refused(incident: Path, tmp_path: Path) -> None:
    def zipped(name: str, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as bundle:
            for member, data in members.items():
                bundle.writestr(member, data)
        return path

    for path in (
        zipped("other", {"../../etc/passwd": b""}),
        zipped("bomb", {"entries.jsonl": bytes(1_000_000)}, zipfile.ZIP_DEFLATED),
        zipped("empty", {}),
        zipped("list", {"manifest.json": b"[1]"}),
        zipped("short", {"manifest.json": b"{}"}),
        rewritten(
            incident, tmp_path, manifest_json=lines(incident, "manifest.json")[0].replace(b"/1", b"/9")
        ),
    ):
        with pytest.raises(LogError, match=r"not a bundle|manifest|format"):
            verify_bundle(path)


def test_an_incident_still_being_worked_on_is_exported_as_it_is(
    tmp_path: Path, store: SequencedStore
) -> None:
    store.append([started()])
    first = export(store, tmp_path / "first.mimlog", inc="INC-1")
    store.append([started()])
    second = export(store, tmp_path / "second.mimlog", inc="INC-1")
    assert (first.entries, second.entries) == (1, 2)
    assert verify_bundle(tmp_path / "first.mimlog").ok
    assert verify_bundle(tmp_path / "second.mimlog").ok
