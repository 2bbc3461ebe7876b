"""Keys that change under a log that is written meanwhile: every checkpoint stays good, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from builders.log_places import Place

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.key_view import ring_of, view_keys
from mimrun.app.keys import retire, root_key, rotate, trust
from mimrun.catalog import Catalog
from mimrun.errors import RefusedError, TamperError
from mimrun.gate.people import Person
from mimrun.log.entry import Draft
from mimrun.log.merkle import Tree
from mimrun.log.proof.key import KeyRing
from mimrun.log.proof.key_file import make_key
from mimrun.log.proof.signer import FileSigner, begin_key
from mimrun.log.sequenced import SequencedStore
from mimrun.settings import Settings
from tests.store.conftest import note

ALEX = Identity(Person("alex", "alex"), "os-user")


def begin(store: SequencedStore, folder: Path) -> Home:
    """Have a log signed by keys in a home, as a fresh one is."""
    settings = Settings(home=folder)
    settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    signer = FileSigner(settings.signer_folder, store.log)
    store.sign_with(signer)
    store.append([Draft(ALEX.actor(), begin_key(signer, size=store.head().size))])
    return Home(settings, store, Catalog())


def assert_every_checkpoint_is_good(store: SequencedStore, ring: KeyRing) -> int:
    """Check each stored checkpoint with the keys and against the tree; give how many there are."""
    tree = Tree(store.leaves(store.head().size))
    checked = [ring.check(stored.note) for stored in store.checkpoints()]
    for one in checked:
        assert one.checkpoint.root == tree.root(one.checkpoint.size)
    assert ring.unconfirmed(checked) == ()
    return len(checked)


def test_keys_change_while_others_write(place: Place, tmp_path: Path) -> None:
    """Three changes under a writer that never stops: no checkpoint is out of range, and each key is vouched for."""
    with place.open() as store:
        home, stop = begin(store, tmp_path), threading.Event()

        def write() -> None:
            while not stop.is_set():
                store.append([note("more", inc=f"INC-{store.head().size % 7}")])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            came = [rotate(home, ALEX, "as planned") for _ in range(3)]
        finally:
            stop.set()
            writer.join()
        assert all(one.size and not one.waiting for one in came)
        assert store.checkpoint()
        ring = ring_of(home)
        assert [one.to_size for one in ring.keys] == [*(one.size for one in came), None]
        assert assert_every_checkpoint_is_good(store, ring) > 3
        # What the last key signs would be refused for the time of the first.
        late = ring.keys[-1]
        first = next(iter(store.checkpoints()))
        forged = FileSigner(home.settings.signer_folder, store.log)
        assert forged.vkey == late.key.vkey
        assert not late.covers(first.size)


def test_other_process_signs_on_with_the_new_key(place: Place, tmp_path: Path) -> None:
    """A worker that has the log open while somebody changes its key needs not to be started again."""
    with place.open() as store, place.open() as worker:
        home = begin(store, tmp_path)
        worker.sign_with(FileSigner(home.settings.signer_folder, worker.log))
        worker.append([note("before")])
        assert worker.checkpoint()
        came = rotate(home, ALEX, "as planned")
        worker.append([note("after")])
        made = worker.checkpoint()
        assert made is not None
        ring = ring_of(home)
        assert [one.key for one in ring.check(made.note).signers] == [came.new.key]
        assert assert_every_checkpoint_is_good(store, ring)


def test_change_without_a_checkpoint_keeps_both_keys(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimrun.app.keys.CHANGE_OVER_S", 0.2)
    with place.open() as store:
        home = begin(store, tmp_path)
        assert store.checkpoint()
    with place.open() as store:
        # Nobody signs here: what is announced gets no checkpoint.
        still = Home(home.settings, store, Catalog())
        came = rotate(still, ALEX, "as planned")
        assert (came.retired, came.size, len(came.waiting)) == ((), 0, 1)
        assert len(view_keys(still).here) == 2
    with place.open() as store:
        store.sign_with(FileSigner(home.settings.signer_folder, store.log))
        again = Home(home.settings, store, Catalog())
        store.append([note("later")])
        assert store.checkpoint()
        retire(again, ALEX, came.waiting[0], "the new one signs")
        store.append([note("later")])
        assert store.checkpoint()
        assert_every_checkpoint_is_good(store, ring_of(again))


def test_stolen_key_signs_nothing_beyond_its_end(place: Place, tmp_path: Path) -> None:
    with place.open() as store:
        home = begin(store, tmp_path)
        (pem,) = home.settings.signer_folder.glob("*.pem")
        stolen = root_key(pem, "")
        came = rotate(home, ALEX, "stolen")
        store.append([note("later")])
        made = store.checkpoint()
        assert made is not None
        text = made.note.partition("\n\n")[0] + "\n"
        forged = text + "\n" + stolen.sign(text).line() + "\n"
        with pytest.raises(
            TamperError, match=f"may sign trees from size .* to {came.size}, and not this one"
        ):
            ring_of(home).check(forged)


def test_pinned_root_key_must_certify_each_new_key(place: Place, tmp_path: Path) -> None:
    with place.open() as store:
        home = begin(store, tmp_path)
        make_key(tmp_path / "root.pem", "example.org/root")
        root = root_key(tmp_path / "root.pem", "")
        with pytest.raises(RefusedError, match="has certified no key in use"):
            trust(home, str(tmp_path / "root.pem"))
        rotate(home, ALEX, "the first with a certificate", root)
        trust(home, str(tmp_path / "root.pem"))
        with pytest.raises(RefusedError, match="must certify a new key"):
            rotate(home, ALEX, "as planned")
        make_key(tmp_path / "other.pem", "example.org/root")
        with pytest.raises(RefusedError, match="is not the root key that is pinned here"):
            rotate(home, ALEX, "as planned", root_key(tmp_path / "other.pem", ""))
        with pytest.raises(RefusedError, match="is pinned already"):
            trust(home, str(tmp_path / "other.pem"))
        rotate(home, ALEX, "as planned", root)
        ring = ring_of(home)
        assert [one.certified for one in ring.keys] == [False, True, True]
        view = view_keys(home)
        assert view.last is not None
        assert not view.last.fault
