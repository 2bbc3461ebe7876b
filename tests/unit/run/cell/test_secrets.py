"""One worker's secrets: fetched late, once, and masked before anybody has them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.run.cell.secrets import AGAIN_S, RunSecrets
from mimrun.secret import Secret

FAR = "vault:secret/portal#token"


class Store:
    """A place for secrets that counts who asks, and may be down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False
        self.now = 1000.0

    def read(self, reference: str) -> Secret:
        self.asked.append(reference)
        if self.down:
            raise SettingsError("the store is down")
        return Secret(f"value-of-{reference}", "7")

    def secrets(self, *references: str) -> RunSecrets:
        return RunSecrets(references, read=self.read, monotonic=lambda: self.now)


def test_a_store_elsewhere_is_asked_when_a_step_needs_it_and_once() -> None:
    store = Store()
    secrets = store.secrets(FAR, "keyring:portal/me")
    assert secrets.masker.mask_text(f"value-of-{FAR}") == f"value-of-{FAR}"
    assert store.asked == []
    assert secrets.reveal(FAR).reveal() == f"value-of-{FAR}"
    secrets.reveal(FAR)
    assert store.asked == [FAR]
    assert secrets.masker.mask_text(f"value-of-{FAR}") == "*****"


def test_what_lies_on_this_machine_is_masked_before_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    store = Store()
    secrets = store.secrets("env:TOKEN", f"file:{file}", f"file:{tmp_path}/not-there-yet")
    assert secrets.masker.mask_text("<value-of-env:TOKEN>") == "<*****>"
    assert sorted(store.asked) == ["env:TOKEN", f"file:{file}"]


def test_a_pipe_is_left_to_the_step_that_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = Store()
    assert store.secrets(f"file:{tmp_path}/pipe").masker.longest == 0
    assert store.asked == []


def test_the_version_that_was_read_is_known_afterwards() -> None:
    secrets = Store().secrets(FAR)
    assert secrets.version(FAR) == ""
    secrets.reveal(FAR)
    assert secrets.version(FAR) == "7"


def test_fifty_hosts_ask_a_store_that_is_down_once() -> None:
    store = Store()
    store.down = True
    secrets = store.secrets(FAR)
    with ThreadPoolExecutor(50) as pool:
        errors = [future.exception() for future in [pool.submit(secrets.reveal, FAR) for _ in range(50)]]
    assert {str(error) for error in errors} == {"the store is down"}
    assert store.asked == [FAR]


def test_a_store_that_is_back_is_asked_again() -> None:
    store = Store()
    store.down = True
    secrets = store.secrets(FAR)
    with pytest.raises(SettingsError):
        secrets.reveal(FAR)
    store.down = False
    store.now += AGAIN_S - 1
    with pytest.raises(SettingsError, match="down"):
        secrets.reveal(FAR)
    store.now += 1
    assert secrets.reveal(FAR).reveal()


def test_a_slow_store_holds_up_nobody_who_needs_another_secret() -> None:
    go_on, near = threading.Event(), "env:NEAR"

    def read(reference: str) -> Secret:
        if reference == FAR:
            assert go_on.wait(20)
        return Secret("some value")

    secrets = RunSecrets([FAR, near], read=read)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(secrets.reveal, FAR)
        assert secrets.reveal(near).reveal() == "some value"
        assert not slow.done()
        go_on.set()
        assert slow.result(20).reveal() == "some value"
