"""Bundles: everything a third party needs is in the file, and any change of it is found, by both verifiers."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from builders.bundles import CASES, alone, flaws_of, lines, members, rewritten, rezipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import LogAnchored, StepFinished
from mimrun.log.proof.bundle import ends_at, export
from mimrun.log.proof.note import read_vkey
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.report import Known, Report, Trust
from mimrun.log.proof.signer import FileSigner
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, note, started, ticking
from tests.store.signers import SYSTEM, begin

UNSIGNED = Trust(unsigned=True)
SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed log with three incidents, taking turns; a checkpoint in the middle was given away."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    create_log(path, ORIGIN, ACTOR, clock=ticking())
    with SqliteStore(path, clock=ticking()) as store:
        begin(store, path.parent / "signer")
        store.append([note(f"note number {n:02d} é", f"INC-{n % 3}", "run-1") for n in range(10)])
        middle = store.checkpoint()
        assert middle is not None
        (path.parent / "anchor.txt").write_text(middle.note, "utf-8")
        anchored = LogAnchored(anchor="file", size=middle.size, root=store.head().root, done=True)
        store.append([Draft(SYSTEM, anchored)])
        store.append([note(f"note number {n:02d} é", f"INC-{n % 3}", "run-1") for n in range(10, 20)])
        export(store, path.with_name("all.mimlog"))
        export(store, path.with_name("INC-1.mimlog"), inc="INC-1")
        export(store, path.with_name("INC-2.mimlog"), inc="INC-2")
    return path


@pytest.fixture(scope="module")
def whole(log: Path) -> Path:
    return log.with_name("all.mimlog")


@pytest.fixture(scope="module")
def incident(log: Path) -> Path:
    return log.with_name("INC-1.mimlog")


def named(report: Report) -> list[tuple[int, str]]:
    return [(flaw.seq, flaw.check) for flaw in report.flaws]


def vkey(path: Path) -> str:
    keys: list[dict[str, str]] = json.loads(members(path)["keys.json"])["keys"]
    return keys[0]["vkey"]


def test_a_bundle_of_the_whole_log_verifies_alone(log: Path, whole: Path) -> None:
    report = verify_bundle(whole)
    assert report.ok, str(report)
    assert (report.log, report.incidents, report.blobs) == (ORIGIN, 3, 20)
    assert report.findings.checkpoints >= 2
    assert report.findings.signed == report.size
    assert alone(whole)["ok"]


def test_a_bundle_of_an_incident_holds_its_entries_and_no_others(log: Path, incident: Path) -> None:
    report = verify_bundle(incident)
    assert report.ok, str(report)
    assert (report.scope, report.size, report.blobs) == ("incident INC-1", 7, 7)
    assert {json.loads(line)["inc"] for line in lines(incident)} == {"INC-1"}
    assert {json.loads(line)["inc"] for line in lines(incident, "log.jsonl")} == {""}
    size = json.loads(members(incident)["manifest.json"])["size"]
    assert verify_bundle(incident, known=Known(size, report.root)).ok
    assert named(verify_bundle(incident, known=Known(size, "ab" * 32))) == [(0, "anchor")]


def test_a_bundle_says_what_is_proven_and_what_not(log: Path, incident: Path) -> None:
    told = str(verify_bundle(incident))
    assert f"signed by {ORIGIN}+" in told
    assert "nor cut from its end" in told
    assert "say with --root or --key whom you trust" in told
    kept = Trust(keys=(read_vkey(vkey(incident)),), notes=(log.with_name("anchor.txt").read_text("utf-8"),))
    report = verify_bundle(incident, trust=kept)
    assert report.ok, str(report)
    assert report.findings.since == 13
    assert "entries up to 13 are those that were noted earlier" in str(report)
    other = alone(incident, "--key", vkey(incident), "--checkpoint", str(log.with_name("anchor.txt")))
    assert "entries up to 13" in " ".join(other["proven"])


def test_what_is_too_old_or_too_new_to_be_compared_is_no_flaw_beside_what_is_not(
    log: Path, incident: Path, tmp_path: Path
) -> None:
    kept = log.with_name("anchor.txt").read_text("utf-8")
    with SqliteStore(log) as store:
        strange = [one.note for one in store.checkpoints() if one.size > 13][-1].replace("\n25\n", "\n99\n")
    assert "anchor" in {check for _, check in named(verify_bundle(incident, trust=Trust(notes=(strange,))))}
    later = log.parent / "later"
    later.mkdir()
    for file in (log, log.with_name("blob.key")):
        shutil.copy(file, later / file.name)
    with SqliteStore(later / log.name, clock=ticking()) as store:
        store.sign_with(FileSigner(log.parent / "signer", ORIGIN))
        store.append([note("later", "INC-2")])
        newer = store.checkpoint()
    assert newer is not None
    both, one = Trust(notes=(kept, newer.note)), Trust(notes=(newer.note,))
    assert verify_bundle(incident, trust=both).ok, str(verify_bundle(incident, trust=both))
    assert f"from the checkpoint of size {newer.size}" in str(verify_bundle(incident, trust=both))
    assert named(verify_bundle(incident, trust=one)) == [(0, "anchor")]
    (tmp_path / "kept.txt").write_text(kept + newer.note, "utf-8")
    assert alone(incident, "--checkpoint", str(tmp_path / "kept.txt"))["ok"]
    (tmp_path / "kept.txt").write_text(newer.note, "utf-8")
    assert flaws_of(alone(incident, "--checkpoint", str(tmp_path / "kept.txt"))) == [(0, "anchor")]


def test_the_same_log_gives_the_same_bundle(log: Path, whole: Path, tmp_path: Path) -> None:
    with SqliteStore(log) as store:
        export(store, tmp_path / "all.mimlog")
    assert (tmp_path / "all.mimlog").read_bytes() == whole.read_bytes()


def test_any_program_can_unpack_it(incident: Path) -> None:
    with zipfile.ZipFile(incident) as bundle:
        assert bundle.testzip() is None
        assert b"python3 verify.py INC-1.mimlog" in bundle.read("README.txt")
    assert incident.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("classes", [["output"], ["text"], ["output", "text"], []])
def test_blobs_go_along_by_choice(tmp_path: Path, classes: list[str]) -> None:
    path = tmp_path / "log.db"
    create_log(path, ORIGIN, ACTOR, clock=ticking())
    with SqliteStore(path, clock=ticking()) as store:
        begin(store, tmp_path / "signer")
        blobs = (Blob("reason", b"a reason", "text"), Blob("data", b"an answer", "output"))
        finished = StepFinished(status="ok", reason="")
        store.append([Draft(ACTOR, finished, inc="INC-1", run="run-1", step="1", blobs=blobs)])
        manifest = export(store, tmp_path / "x.mimlog", inc="INC-1", classes=classes)  # type: ignore[arg-type]
    assert (manifest.blobs, list(manifest.classes)) == (len(classes), classes)
    data = (tmp_path / "x.mimlog").read_bytes()
    assert (b"an answer" in data, b"a reason" in data) == ("output" in classes, "text" in classes)
    assert verify_bundle(tmp_path / "x.mimlog").ok
    assert alone(tmp_path / "x.mimlog")["ok"]


@SETTINGS
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
    seq = json.loads(entries[number])["seq"]
    report = verify_bundle(flipped)
    assert report.flaws[0].seq == seq, str(report)
    assert alone(flipped)["flaws"][0]["seq"] == seq


@pytest.mark.parametrize("number", [0, 3, 6])
def test_an_entry_left_out_of_an_incident_is_missing(incident: Path, tmp_path: Path, number: int) -> None:
    entries, proofs = lines(incident), lines(incident, "proofs.jsonl")
    del entries[number], proofs[number]
    bad = rewritten(
        incident, tmp_path, {"entries.jsonl": b"".join(entries), "proofs.jsonl": b"".join(proofs)}
    )
    assert "missing" in str(verify_bundle(bad))
    assert "missing" in str(alone(bad))


def test_an_end_cut_off_is_shown_by_the_heads_even_where_the_manifest_says_nothing(
    incident: Path, tmp_path: Path
) -> None:
    entries, proofs = lines(incident), lines(incident, "proofs.jsonl")
    gone = json.loads(entries[-1])["blobs"][0]["commit"]
    manifest = json.loads(members(incident)["manifest.json"]) | {"entries": 6, "blobs": 6}
    del entries[-1], proofs[6]
    changes = {"entries.jsonl": b"".join(entries), "proofs.jsonl": b"".join(proofs), f"blobs/{gone}": None}
    bad = rewritten(incident, tmp_path, changes, manifest=manifest)
    assert named(verify_bundle(bad)) == [(0, "heads")]
    assert "1 entry is missing at the incident's end" in alone(bad)["flaws"][0]["detail"]


def test_an_entry_of_another_incident_is_named(incident: Path, log: Path, tmp_path: Path) -> None:
    other = log.with_name("INC-2.mimlog")
    entries, proofs = lines(incident), lines(incident, "proofs.jsonl")
    entries[3], proofs[3] = lines(other)[3], lines(other, "proofs.jsonl")[3]
    bad = rewritten(
        incident, tmp_path, {"entries.jsonl": b"".join(entries), "proofs.jsonl": b"".join(proofs)}
    )
    seq = json.loads(entries[3])["seq"]
    assert (seq, "place") in named(verify_bundle(bad))
    assert (seq, "place") in [(flaw["seq"], flaw["check"]) for flaw in alone(bad)["flaws"]]


def test_entries_without_their_proofs_are_not_believed(incident: Path, tmp_path: Path) -> None:
    for proofs in (b"", b"{}\n" * 9, b'{"proof":["zz"],"seq":3}\n' * 9, b'{"proof":"x","seq":"3"}\n' * 9):
        bad = rewritten(incident, tmp_path, {"proofs.jsonl": proofs})
        report = verify_bundle(bad)
        assert {"proof"} <= {flaw.check for flaw in report.flaws}
        assert len(report.flaws) >= 9
        assert len(alone(bad)["flaws"]) >= 9


def test_a_blob_left_out_is_named_at_its_entry(incident: Path, tmp_path: Path) -> None:
    entry = json.loads(lines(incident)[2])
    bad = rewritten(incident, tmp_path, {f"blobs/{entry['blobs'][0]['commit']}": None})
    assert named(verify_bundle(bad))[0] == (entry["seq"], "blob")
    assert alone(bad)["flaws"][0]["seq"] == entry["seq"]


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


@pytest.mark.parametrize(
    "statement",
    [
        "update entry set leaf = zeroblob(32) where seq = 6",
        "update entry set data = cast(replace(data, 'u:7', 'u:8') as blob) where inc = 'INC-1'",
        "update incident_head set iseq = 5 where inc = 'INC-2'",
    ],
)
def test_nothing_is_exported_from_a_log_that_was_changed(log: Path, tmp_path: Path, statement: str) -> None:
    for file in (log, log.with_name("blob.key")):
        shutil.copy(file, tmp_path / file.name)
    db = sqlite3.connect(tmp_path / log.name)
    for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
        db.execute(f"drop trigger {name}")
    db.execute(statement)
    db.commit()
    db.close()
    with SqliteStore(tmp_path / log.name) as store:
        with pytest.raises(TamperError):
            export(store, tmp_path / "x.mimlog", inc="INC-1")
        assert not (tmp_path / "x.mimlog").exists()


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.mimlog"
    path.write_bytes(data)
    if data:
        with pytest.raises(LogError, match="not a bundle"):
            verify_bundle(path)
    assert alone(path)["ended"] == 1
    with pytest.raises(InputError, match="cannot be read"):
        verify_bundle(tmp_path / "missing.mimlog")
    assert alone(tmp_path / "missing.mimlog")["ended"] == 2


def test_a_hostile_zip_is_refused(incident: Path, tmp_path: Path) -> None:
    def zipped(name: str, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as bundle:
            for member, data in content.items():
                bundle.writestr(member, data)
        return path

    said = json.loads(members(incident)["manifest.json"])
    for path in (
        zipped("other", {"../../etc/passwd": b""}),
        zipped("bomb", {"entries.jsonl": bytes(1_000_000)}, zipfile.ZIP_DEFLATED),
        zipped("again", members(incident)),
        zipped("empty", {}),
        rezipped(tmp_path / "strange", {"etc/passwd": b""}),
        rezipped(tmp_path / "list", {"manifest.json": b"[1]"}),
        rezipped(tmp_path / "short", {"manifest.json": b"{}"}),
        rewritten(incident, tmp_path, {}, manifest=said | {"bundle": "mimlog-bundle/9"}),
    ):
        with pytest.raises(LogError, match=r"not a bundle|manifest|format"):
            verify_bundle(path)
        assert alone(path)["ended"] == 1


def test_what_nobody_signed_is_told_from_what_was_signed(tmp_path: Path, store: SequencedStore) -> None:
    store.append([started()])
    first = export(store, tmp_path / "first.mimlog", inc="INC-1")
    assert not first.signed
    assert named(verify_bundle(tmp_path / "first.mimlog")) == [(0, "checkpoint")]
    assert verify_bundle(tmp_path / "first.mimlog", trust=UNSIGNED).ok
    assert not alone(tmp_path / "first.mimlog")["ok"]
    assert alone(tmp_path / "first.mimlog", "--unsigned")["ok"]
    begin(store, tmp_path / "signer")
    store.append([started()])
    second = export(store, tmp_path / "second.mimlog", inc="INC-1")
    assert (first.entries, second.entries, second.signed) == (1, 2, True)
    assert verify_bundle(tmp_path / "second.mimlog").ok
    assert alone(tmp_path / "second.mimlog")["ok"]


def test_an_incident_that_others_go_on_around_is_exported_as_of_the_last_checkpoint(
    tmp_path: Path, store: SequencedStore
) -> None:
    begin(store, tmp_path / "signer")
    store.append([note("one", "INC-1"), note("two", "INC-2"), note("three", "INC-3")])
    point = store.checkpoint()
    assert point is not None
    store.append([note("four", "INC-2"), note("five", "INC-4")])
    assert ends_at(store, point.size).keys() == {"INC-1", "INC-2", "INC-3"}
    assert ends_at(store, point.size)["INC-2"].iseq == 1


@pytest.mark.parametrize("name", ["incident", "whole"])
def test_bundles_of_the_first_format_are_still_checked(tmp_path: Path, name: str) -> None:
    path = CASES / "first" / f"{name}.mimlog"
    report = verify_bundle(path)
    assert report.ok, str(report)
    assert "has no checkpoint" in str(report)
    data = path.read_bytes()
    (tmp_path / "bad").write_bytes(data.replace(b'"u:7"', b'"u:8"', 1))
    assert verify_bundle(tmp_path / "bad").flaws[0].seq in (1, 3)
    assert not verify_bundle(path, trust=Trust(notes=("x",))).ok
    assert "this program knows mimlog-bundle/2" in str(alone(path)) or not alone(path)["ok"]


def test_a_bundle_of_a_long_log_costs_little_memory_for_each_entry(tmp_path: Path) -> None:
    def cost(count: int) -> int:
        """Bytes of memory at the most while so many entries, each with a blob, are exported."""
        path = tmp_path / f"{count}.db"
        create_log(path, ORIGIN, ACTOR, clock=ticking())
        with SqliteStore(path, clock=ticking()) as store:
            store.append([note(f"note {n}") for n in range(count)])
            export(store, tmp_path / "warm.mimlog", classes=())
            (tmp_path / "warm.mimlog").unlink()
            tracemalloc.start()
            try:
                export(store, tmp_path / f"{count}.mimlog")
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # Beside two pages of a thousand rows, which every reading has; it was 2,100 bytes an entry and its blob.
    assert (cost(5000) - cost(2500)) / 2500 < 1000
