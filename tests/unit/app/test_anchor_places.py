"""Giving checkpoints to files, to HTTP services that behave badly, and to witnesses that lie."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from builders.witness import Answer, Witness, serving, serving_with
from hypothesis import given
from hypothesis import strategies as st

from mimrun.app.anchor import places as anchor_places
from mimrun.app.anchor.file import ActionPlace, Anchor, FilePlace, WitnessPlace
from mimrun.app.anchor.places import Given, Means, Point, give, give_all, read, read_all
from mimrun.app.anchor.text import find_notes, of_log
from mimrun.catalog import installed_catalog
from mimrun.log.merkle import Tree, leaf_hash
from mimrun.log.proof.note import Checkpoint, SigningKey, read_note, read_vkey, sign_note
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.model import ActionCall
from mimrun.secret import Masker, Secret

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, bytes([1]) * 32)
LEAVES = [leaf_hash(b"%d" % number) for number in range(300)]
CATALOG = installed_catalog()


def point(size: int, leaves: list[bytes] = LEAVES, origin: str = ORIGIN) -> Point:
    checkpoint = Checkpoint(origin, size, Tree(leaves[:size]).root())
    return Point(checkpoint, sign_note(checkpoint.text(), [SigningKey(origin, KEY.seed)]))


def means(leaves: list[bytes] = LEAVES, inventory: str = "localhost") -> Means:
    hosts = parse_inventory(inventory)
    return Means(
        CATALOG, hosts, Masker([Secret("hunter2-hunter2")]), lambda size: iter(leaves[:size]), ORIGIN
    )


def done(anchor: Anchor, size: int, *, leaves: list[bytes] = LEAVES, known: int = 0) -> Given:
    (given,) = give_all([anchor], point(size, leaves), means(leaves), {anchor.name: known})
    return given


# -- files


def test_a_file_holds_every_checkpoint_once_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    disk = Anchor("disk", FilePlace(path))
    for size in (3, 7, 7, 20):
        assert done(disk, size).done
    assert path.read_text() == "".join(point(size).note for size in (3, 7, 20))
    assert read(disk, None, means(), 0).notes == tuple(point(size).note for size in (3, 7, 20))
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_knows_better_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    disk = Anchor("disk", FilePlace(path))
    assert done(disk, 20).done
    before = path.read_bytes()
    smaller, other = done(disk, 7), done(disk, 20, leaves=[bytes(32), *LEAVES])
    assert (smaller.against, other.against, smaller.done, other.done) == (True, True, False, False)
    assert "it has a checkpoint of 20 entries, and this log had 7" in smaller.reason
    assert "with another root" in other.reason
    assert path.read_bytes() == before


def test_other_logs_and_torn_lines_in_a_file_are_passed_over(tmp_path: Path) -> None:
    path, other = tmp_path / "kept", point(200, origin="other.example.org").note
    note = point(5).note
    for cut in range(1, len(note) - 1):
        path.write_text(other + note[:cut])
        disk = Anchor("disk", FilePlace(path))
        assert done(disk, 9).done
        assert read(disk, None, means(), 0).notes == (point(9).note,), cut


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "link"])
def test_what_is_no_file_is_refused_and_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "kept"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere" / "kept")
        case _:
            path = tmp_path / "nowhere" / "kept"
    disk = Anchor("disk", FilePlace(path))
    assert not done(disk, 3).done
    assert read(disk, None, means(), 0).trouble


@given(st.text("\n— abAB09+/=", max_size=60), st.text(max_size=60), st.integers(1, 200))
def test_a_checkpoint_is_found_among_anything(before: str, after: str, size: int) -> None:
    note = point(size).note
    found = find_notes(f"{before}\n{note}\n{after}")
    assert note in found
    assert of_log(found, ORIGIN) == [note]
    assert find_notes(note.replace("\n", "\r\n")) == [note]
    assert find_notes(note.rstrip("\n")) == [note]


# -- HTTP


def handler(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        do_PUT = do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def says(status: int, body: bytes, media_type: str = "text/plain") -> type[BaseHTTPRequestHandler]:
    def answer(http: BaseHTTPRequestHandler, _: bytes) -> None:
        http.send_response(status)
        http.send_header("Content-Type", media_type)
        http.end_headers()
        http.wfile.write(body)

    return handler(answer)


def posting(url: str, timeout_ms: int = 10_000) -> Anchor:
    call = ActionCall(
        action="http.request", args={"url": url, "method": "POST", "json": {"text": "{{ size }}:{{ root }}"}}
    )
    return Anchor("web", ActionPlace(call), timeout_ms=timeout_ms)


def test_a_service_gets_what_the_template_says_and_its_answer_is_the_receipt_without_secrets() -> None:
    got = list[bytes]()

    def answer(http: BaseHTTPRequestHandler, body: bytes) -> None:
        got.append(body)
        http.send_response(201)
        http.send_header("Content-Type", "application/json")
        http.end_headers()
        http.wfile.write(b'{"id": "note-1", "token": "hunter2-hunter2"}')

    with serving_with(handler(answer)) as url:
        given = done(posting(f"{url}/notes"), 9)
    assert given.done
    assert json.loads(got[0]) == {"text": f"9:{point(9).checkpoint.root.hex()}"}
    assert b"note-1" in given.receipt
    assert b"hunter2" not in given.receipt


@pytest.mark.parametrize("status", [302, 400, 403, 500, 503])
def test_a_service_that_refuses_or_breaks_has_not_taken_it(status: int) -> None:
    with serving_with(says(status, b"no\x1b[2J")) as url:
        given = done(posting(url), 9)
    assert (given.done, given.against, str(status) in given.reason) == (False, False, True)


def test_an_outage_a_silence_and_a_slow_drip_end_in_time() -> None:
    over = threading.Event()

    def silent(http: BaseHTTPRequestHandler, _: bytes) -> None:
        over.wait(30)

    def drip(http: BaseHTTPRequestHandler, _: bytes) -> None:
        http.send_response(200)
        http.end_headers()
        while not over.wait(0.05):
            try:
                http.wfile.write(b".")
            except OSError:
                return

    with ExitStack() as stack:
        stack.callback(over.set)
        first, second = (stack.enter_context(serving_with(handler(one))) for one in (silent, drip))
        with serving_with(says(200, b"")) as gone:
            pass
        began = time.monotonic()
        anchors = [
            Anchor(f"web{number}", posting(url).place, timeout_ms=1000)
            for number, url in enumerate((first, second, gone))
        ]
        given = give_all(anchors, point(9), means(), dict.fromkeys(("web0", "web1", "web2"), 0))
        took = time.monotonic() - began
        assert [one.done for one in given] == [False, False, False]
        assert took < 1 + anchor_places.GRACE_S
        assert all(one.reason for one in given)


def test_what_hangs_beyond_its_time_is_left_and_the_others_are_not_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def stuck(path: Path, _: Point) -> Given:
        over.wait(30) if path.name == "stuck" else None
        return Given(done=True)

    monkeypatch.setattr(anchor_places, "_append", stuck)
    monkeypatch.setattr(anchor_places, "GRACE_S", 0.1)
    try:
        anchors = [Anchor(name, FilePlace(tmp_path / name), timeout_ms=200) for name in ("stuck", "good")]
        bad, good = give_all(anchors, point(3), means(), {"stuck": 0, "good": 0})
    finally:
        over.set()
    assert (bad.done, good.done) == (False, True)
    assert "did not come back" in bad.reason


def test_checkpoints_are_read_back_out_of_the_texts_of_json_and_nothing_else_is_taken() -> None:
    ours, other = [point(3).note, point(9).note], point(5, origin="other.example.org").note
    pages = {"notes": [{"text": f"on {n}:\n\n{note}bye"} for n, note in enumerate((*ours, other, "none"))]}
    with serving_with(says(200, json.dumps(pages).encode(), "application/json")) as url:
        call = ActionCall(action="http.request", args={"url": url})
        anchor = Anchor("web", ActionPlace(posting(url).place.call, call))  # type: ignore[union-attr]
        (back,) = read_all([anchor], None, means())
        assert back.notes == tuple(ours)
    (back,) = read_all([anchor], None, means())
    assert back.trouble
    assert read(posting(url), None, means(), 0).trouble.startswith("it cannot be read back")


# -- witnesses


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "memory", {ORIGIN: [KEY.verifying().vkey]})


@pytest.fixture
def cosigner(witness: Witness) -> Iterator[Anchor]:
    with serving(witness) as url:
        yield Anchor("w", WitnessPlace(url, read_vkey(witness.vkey)))


def test_a_witness_is_proven_to_from_wherever_it_is(witness: Witness, cosigner: Anchor) -> None:
    for size, known, asked in ((5, 0, 1), (5, 5, 1), (131, 5, 1), (200, 5, 2), (299, 250, 2), (300, 0, 2)):
        before = len(witness.requests)
        given = done(cosigner, size, known=known)
        assert given.done, given.reason
        assert len(witness.requests) - before == asked
        assert read_note(given.receipt).signed([read_vkey(witness.vkey)])
        assert witness.known(ORIGIN)[0] == size


def test_a_witness_refuses_a_fork_and_an_old_copy_and_reading_finds_the_same(
    witness: Witness, cosigner: Anchor
) -> None:
    assert done(cosigner, 120).done
    forked = [*LEAVES[:60], bytes(32), *LEAVES[61:]]
    for size, leaves, words in (
        (200, forked, "its proof does not hold"),
        (120, forked, "the root is not the same"),
        (80, LEAVES, "it has seen a log of 120 entries, and this one had 80"),
    ):
        given = done(cosigner, size, leaves=leaves)
        assert (given.done, given.against, words in given.reason) == (False, True, True), given.reason
        (back,) = read_all([cosigner], point(size, leaves), means(leaves))
        assert words in back.against
    assert witness.known(ORIGIN)[0] == 120
    (back,) = read_all([cosigner], point(250), means())
    assert read_note(back.notes[0]).signed([read_vkey(witness.vkey)])


def test_a_witness_that_does_not_know_the_log_or_its_key_says_so(witness: Witness, cosigner: Anchor) -> None:
    witness.logs = {ORIGIN: [SigningKey(ORIGIN, bytes([8]) * 32).verifying().vkey]}
    assert "knows no key" in done(cosigner, 5).reason
    witness.logs = {}
    assert "does not know the log" in done(cosigner, 5).reason


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(409, f"{n}\n", "text/x.tlog.size") for n in (1, 2, 3, 4, 5, 6)],
        [Answer(200, "— x AAAA\n")],
        [Answer(200, "y" * 300_000)],
        [Answer(500, "")],
        [Answer(409, "-1", "text/x.tlog.size")],
    ],
)
def test_a_witness_that_lies_is_not_believed_and_not_asked_for_ever(
    witness: Witness, cosigner: Anchor, monkeypatch: pytest.MonkeyPatch, answers: list[Answer]
) -> None:
    left = iter(answers)
    asked = list[str]()
    monkeypatch.setattr(witness, "add_checkpoint", lambda body: (asked.append(body), next(left))[1])
    given = done(cosigner, 120)
    assert (given.done, given.against) == (False, False), given.reason
    assert len(asked) <= anchor_places.TRIES


def test_one_place_alone_takes_no_longer_than_it_may(cosigner: Anchor) -> None:
    given = give(cosigner, point(3), means(), 0, time.monotonic() - 1)
    assert not given.done
