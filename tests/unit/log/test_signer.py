"""The signer: it never signs two histories, whatever is asked in which order and wherever it dies."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mimrun.errors import MimrunError, RefusedError, SettingsError
from mimrun.log.merkle import Tree, leaf_hash
from mimrun.log.proof import signer as module
from mimrun.log.proof.key import open_request
from mimrun.log.proof.key_file import is_sealed, make_key, read_key, read_public
from mimrun.log.proof.note import Checkpoint, read_checkpoint, read_note, read_vkey
from mimrun.log.proof.signer import MAX_KEYS, FileSigner, begin_key

ORIGIN = "example.org/incidents"


class History:
    """A log's tree: the first `fork` leaves are those of every history, the others its own."""

    def __init__(self, name: str = "", fork: int = 0, size: int = 40) -> None:
        self.leaves = [leaf_hash(f"{name if n >= fork else ''}{n}".encode()) for n in range(size)]
        self._tree = Tree(self.leaves)

    def root(self, size: int) -> bytes:
        return self._tree.root(size)

    def sign(self, signer: FileSigner, size: int, since: int | None = None) -> str:
        since = min(signer.signed_size(), size) if since is None else since
        return signer.sign(size, self.root(size), self.leaves[since:size])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "signer"


@pytest.fixture
def signer(folder: Path) -> FileSigner:
    one = FileSigner(folder, ORIGIN)
    begin_key(one)
    return one


def signers(note: str, *vkeys: str) -> list[str]:
    return [signed.key.vkey for signed in read_note(note).signed(map(read_vkey, vkeys))]


def test_first_key_is_made_and_signs_a_checkpoint(folder: Path) -> None:
    one = FileSigner(folder, ORIGIN)
    assert one.vkeys == ()
    with pytest.raises(SettingsError, match="holds no key of the log"):
        _ = one.vkey
    body = begin_key(one, size=7)
    assert (body.vkey, body.from_size) == (one.vkey, 8)
    assert begin_key(one, size=7) == body
    note = History().sign(one, 3)
    assert signers(note, body.vkey) == [body.vkey]
    assert read_checkpoint(read_note(note).text) == Checkpoint(ORIGIN, 3, History().root(3))
    assert one.signed_size() == 3


def test_files_are_for_their_owner_only(signer: FileSigner, folder: Path) -> None:
    History().sign(signer, 3)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (pem,) = folder.glob("*.pem")
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    pem.chmod(0o640)
    with pytest.raises(SettingsError, match=r"others may read this private key \(mode 0640\)"):
        History().sign(signer, 4)


def test_same_tree_is_signed_again_with_the_same_bytes(signer: FileSigner) -> None:
    note = History().sign(signer, 5)
    assert History().sign(signer, 5) == note


def test_more_leaves_than_needed_are_passed_over(signer: FileSigner) -> None:
    # Another process has signed between the question for the size and the one for the signature.
    History().sign(signer, 5)
    assert History().sign(signer, 9, since=2)
    assert signer.sign(12, History().root(12), iter(History().leaves[:12]))


def test_smaller_forked_or_gapped_tree_is_refused(signer: FileSigner) -> None:
    log = History()
    log.sign(signer, 10)
    with pytest.raises(RefusedError, match="has signed a log of 10 entries, and this one has 9: it was cut"):
        log.sign(signer, 9)
    with pytest.raises(RefusedError, match="the log of 12 entries does not go on from the 10 that key"):
        History("other", fork=8).sign(signer, 12)
    with pytest.raises(RefusedError, match="the leaves behind it are not all given"):
        log.sign(signer, 14, since=11)
    with pytest.raises(RefusedError, match="does not go on"):
        signer.sign(10, History("other").root(10), [])
    with pytest.raises(RefusedError, match="does not go on"):
        signer.sign(12, log.root(13), log.leaves[10:12])
    assert signer.signed_size() == 10
    assert log.sign(signer, 12)


def test_key_without_its_memory_signs_nothing(signer: FileSigner, folder: Path) -> None:
    History().sign(signer, 3)
    (memory,) = folder.glob("*.json")
    memory.unlink()
    with pytest.raises(SettingsError, match="what this key has signed is not known any more"):
        History("other").sign(signer, 3, since=0)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 7},
        {"peaks": "00"},
        {"size": "3"},
        {"vkey": "nonsense"},
        {"format": "mimrun/signer/v2"},
        {"vkey": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"},
    ],
    ids=range(6),
)
def test_damaged_memory_is_not_guessed(signer: FileSigner, folder: Path, change: dict[str, object]) -> None:
    History().sign(signer, 3)
    (memory,) = folder.glob("*.json")
    memory.write_text(json.dumps(json.loads(memory.read_text()) | change))
    with pytest.raises(SettingsError):
        History().sign(signer, 4)


def test_keys_of_another_log_do_not_sign_this_one(signer: FileSigner, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"which does not sign the log 'example.org/other'"):
        History().sign(FileSigner(folder, "example.org/other"), 3)


def test_both_keys_sign_while_one_takes_the_others_place(signer: FileSigner, folder: Path) -> None:
    log = History()
    log.sign(signer, 10)
    old = signer.vkey
    new = signer.add_key()
    assert signer.vkeys == (old, new)
    # The new key goes on from what the old one has signed: no leaf is needed twice.
    assert signer.signed_size() == 10
    assert signers(log.sign(signer, 12), old, new) == [old, new]
    signer.drop_key(read_vkey(old).keyid)
    assert signer.vkeys == (new,)
    assert not (folder / f"{read_vkey(old).keyid}.pem").exists()
    assert signers(log.sign(signer, 13), old, new) == [new]
    with pytest.raises(RefusedError, match="is the only key that signs here"):
        signer.drop_key(read_vkey(new).keyid)
    with pytest.raises(RefusedError, match=f"does not sign here; these do: {read_vkey(new).keyid}"):
        signer.drop_key(read_vkey(old).keyid)
    # Keys are counted on, also where one is gone.
    assert signer.vkeys[-1] != signer.add_key() == signer.vkeys[-1]


def test_log_restored_from_a_backup_needs_a_key_that_begins_anew(signer: FileSigner) -> None:
    History().sign(signer, 20)
    restored = History("restored", fork=10)
    with pytest.raises(RefusedError, match="mimrun key rotate --anew"):
        restored.sign(signer, 15)
    old, new = signer.vkey, signer.add_key(anew=True)
    assert signer.signed_size() == 0
    # The old key stays by what it has signed; the new one signs alone.
    assert signers(restored.sign(signer, 15, since=0), old, new) == [new]
    assert signers(restored.sign(signer, 30, since=0), old, new) == [new]


def test_number_of_keys_is_bounded(signer: FileSigner) -> None:
    for _ in range(MAX_KEYS - 1):
        signer.add_key()
    with pytest.raises(RefusedError, match="4 keys sign this log already"):
        signer.add_key()


def test_key_asks_for_its_own_certificate(signer: FileSigner) -> None:
    asked = open_request(signer.request(read_vkey(signer.vkey).keyid, 17))
    assert (asked.key.vkey, asked.from_size) == (signer.vkey, 17)
    with pytest.raises(RefusedError, match="does not sign here"):
        signer.request("00000000", 17)


def test_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file/signer: the log's keys cannot be used: Not a directory"):
        FileSigner(tmp_path / "file" / "signer", ORIGIN).signed_size()


# Key files


def test_key_is_never_written_over(tmp_path: Path) -> None:
    public = make_key(tmp_path / "root.pem", "example.org/root")
    assert read_public(tmp_path / "root.pem") == public
    assert read_key(tmp_path / "root.pem").verifying() == public
    with pytest.raises(SettingsError, match="is there already; a key is never written over"):
        make_key(tmp_path / "root.pem", "example.org/root")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(SettingsError):
        make_key(tmp_path / "link", "example.org/root")
    with pytest.raises(SettingsError, match="cannot be written: No such file"):
        make_key(tmp_path / "none" / "root.pem", "example.org/root")


def test_sealed_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    public = make_key(path, "example.org/root", "correct horse")
    assert is_sealed(path)
    assert read_key(path, "correct horse").verifying() == public
    for wrong in ("", "correct mule"):
        with pytest.raises(SettingsError, match="wrong passphrase, or damaged"):
            read_key(path, wrong)
    open_ = tmp_path / "open.pem"
    make_key(open_, "example.org/root")
    assert not is_sealed(open_)
    with pytest.raises(SettingsError, match="wrong passphrase, or damaged"):
        read_key(open_, "a passphrase for an open key")


def test_file_that_says_another_key_than_it_holds_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    make_key(one, "a")
    make_key(other, "a")
    swapped = one.read_bytes().split(b"\n", 1)[0] + b"\n" + other.read_bytes().split(b"\n", 1)[1]
    one.write_bytes(swapped)
    with pytest.raises(SettingsError, match="is not a"):
        read_key(one)
    one.write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match="no private key that mimrun made"):
        read_key(one)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_key(tmp_path / "none")


@pytest.mark.needs("openssl")
def test_private_key_is_a_pem_that_openssl_reads(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    public = make_key(path, "example.org/root")
    done = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    assert done.stdout[-32:] == public.public


# Dying, and several at once


def test_what_is_signed_is_on_disk_before_the_signature_exists(
    signer: FileSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment of signing another process already reads the new size."""
    seen = []

    def spy(text: str, keys: object) -> str:
        (memory,) = signer._folder.glob("*.json")
        seen.append(json.loads(memory.read_text())["size"])
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sign_note", spy)
    with pytest.raises(KeyboardInterrupt):
        History().sign(signer, 6)
    assert seen == [6]


_DIES = """
import os, signal, sys
from pathlib import Path
from mimrun.log.proof import signer as module
sys.path.insert(0, {tests!r})
point = {point!r}
real = getattr(module, point) if hasattr(module, point) else None
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "sign_note":
    module.sign_note = die
elif point == "replace":
    Path.replace = die
elif point == "after":
    pass
one = module.FileSigner(Path({folder!r}), {origin!r})
leaves = [bytes.fromhex(x) for x in {leaves!r}]
one.sign({size}, bytes.fromhex({root!r}), leaves)
if point == "after":
    die()
"""


@pytest.mark.parametrize(
    ("point", "size_after"),
    [("replace", 5), ("sign_note", 9), ("after", 9)],
    ids=["before", "between", "after"],
)
def test_killed_around_the_fsync_it_still_signs_one_history(
    signer: FileSigner, folder: Path, point: str, size_after: int
) -> None:
    log, fork = History(), History("fork", fork=5)
    log.sign(signer, 5)
    program = _DIES.format(
        tests=str(Path(__file__).parent),
        point=point,
        folder=str(folder),
        origin=ORIGIN,
        leaves=[leaf.hex() for leaf in log.leaves[5:9]],
        size=9,
        root=log.root(9).hex(),
    )
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    again = FileSigner(folder, ORIGIN)
    assert again.signed_size() == size_after
    # Nobody has seen a signature of 9; from "between" on the signer cannot know that, and keeps to that history.
    if size_after == 9:
        with pytest.raises(RefusedError):
            fork.sign(again, 9, since=5)
        assert log.sign(again, 9)
    else:
        assert fork.sign(again, 9)


def test_full_disk_gives_no_signature(signer: FileSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    log = History()
    log.sign(signer, 5)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SettingsError, match="No space left on device"):
            log.sign(signer, 9)
    assert signer.signed_size() == 5
    assert log.sign(signer, 9)


def test_two_histories_at_once_get_one_signature_a_size(signer: FileSigner, folder: Path) -> None:
    left, right = History("left", fork=1), History("right", fork=1)
    notes: list[str] = []

    def work(log: History) -> None:
        own = FileSigner(folder, ORIGIN)
        for size in range(1, 30):
            with suppress(RefusedError):
                notes.append(own.sign(size, log.root(size), log.leaves[:size]))

    threads = [threading.Thread(target=work, args=(log,)) for log in (left, right)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    signed = [read_checkpoint(read_note(note).text) for note in notes]
    assert len({c.size for c in signed}) == len({(c.size, c.root) for c in signed})
    beyond = {c.root for c in signed if c.size > 1}
    assert beyond <= {left.root(n) for n in range(2, 30)} or beyond <= {right.root(n) for n in range(2, 30)}


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder whose files need not outlast a power cut, so that many examples take little time."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="mimrun-signer-") as name:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield Path(name) / "signer"


class OneHistory(RuleBasedStateMachine):
    """Any order of calls, restarts and changes of keys: no key ever signs two trees that do not go together."""

    histories = [History(), History("a", fork=3, size=40), History("b", fork=11, size=40)]

    def __init__(self) -> None:
        super().__init__()
        self._place = _private_folder()
        self.folder = self._place.__enter__()
        self.signed: dict[str, dict[int, bytes]] = {}

    def teardown(self) -> None:
        self._place.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        self.signer = FileSigner(self.folder, ORIGIN)
        begin_key(self.signer)

    @rule(which=st.integers(0, 2), size=st.integers(0, 40), since=st.integers(0, 40))
    def sign(self, which: int, size: int, since: int) -> None:
        log = self.histories[which]
        try:
            note = read_note(self.signer.sign(size, log.root(size), log.leaves[min(since, size) : size]))
        except RefusedError:
            return
        for signed in note.signed(map(read_vkey, self.signer.vkeys)):
            by_size = self.signed.setdefault(signed.key.keyid, {})
            assert by_size.setdefault(size, log.root(size)) == log.root(size)

    @rule()
    def restart(self) -> None:
        self.signer = FileSigner(self.folder, ORIGIN)

    @rule(anew=st.booleans())
    def add_key(self, anew: bool) -> None:
        with suppress(RefusedError):
            self.signer.add_key(anew=anew)

    @rule(nth=st.integers(0, 3))
    def drop_key(self, nth: int) -> None:
        vkeys = self.signer.vkeys
        with suppress(RefusedError):
            self.signer.drop_key(read_vkey(vkeys[nth % len(vkeys)]).keyid)

    @invariant()
    def each_key_signed_one_history(self) -> None:
        for by_size in self.signed.values():
            assert any(
                all(log.root(size) == root for size, root in by_size.items()) for log in self.histories
            )


TestOneHistory = OneHistory.TestCase
TestOneHistory.settings = settings(max_examples=40, stateful_step_count=30)


@given(st.lists(st.integers(0, 40), max_size=12))
def test_sizes_that_are_signed_only_grow(sizes: list[int]) -> None:
    with _private_folder() as folder:
        one, log, largest = FileSigner(folder, ORIGIN), History(), 0
        begin_key(one)
        for size in sizes:
            with suppress(MimrunError):
                log.sign(one, size)
            largest = max(largest, size)
            assert one.signed_size() == largest
