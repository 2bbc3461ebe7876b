"""The whole set: pair, hosts, proxy, writer, inventory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mimrun.errors import LabError
from mimrun.lab import haproxy, leftover, patience
from mimrun.lab.failover import FailoverLab
from mimrun.lab.haproxy import HaProxy, Server

pytestmark = pytest.mark.needs("postgres", "sshd")


def fail_over(lab: FailoverLab) -> float:
    """Kill, fence, promote, and steer the clients over, as a runbook would."""
    one, two = lab.pair.primary, lab.pair.standby
    died = lab.kill_primary()
    one.control("pg-fence")
    two.sql("select pg_promote(true, 30)")
    if lab.proxy is not None:
        assert lab.proxy.command(f"disable server postgres/{one.name}") == ""
        assert lab.proxy.command(f"enable server postgres/{two.name}") == ""
    assert patience.came_true(lambda: lab.writer.notes().outage(died) is not None, seconds=15)
    return died


@pytest.mark.needs("haproxy")
def test_a_failover_behind_the_proxy_is_measured_from_outside(lab_folder: Path) -> None:
    begin = time.monotonic()
    with FailoverLab(lab_folder / "proxied", net="127.0.31", synchronous=True, proxied=True) as lab:
        assert time.monotonic() - begin < 6.0
        assert lab.proxy is not None
        assert lab.proxy.enabled() == ["db1"]
        died = fail_over(lab)
        assert lab.proxy.enabled() == ["db2"]
        notes = lab.writer.notes()
        outage = notes.outage(died)
        assert outage is not None
        assert 0 < outage <= notes.longest_gap() < 15
        assert notes.failed
        # Synchronous: not one acknowledged row may be gone.
        assert lab.writer.lost(lab.pair.standby) == []
    assert leftover.find_all(lab_folder) == []


def test_without_a_proxy_the_client_finds_the_new_primary_by_itself(lab_folder: Path) -> None:
    with FailoverLab(lab_folder / "direct", net="127.0.32", proxied=False, rate=100) as lab:
        assert lab.proxy is None
        fail_over(lab)
        lost = lab.writer.lost(lab.pair.standby)
        lab.writer.stop()
        notes = lab.writer.notes()
        # Asynchronous: rows may be lost; the writer must know of each. Take one away to see that it does.
        victim = notes.acknowledged[-1].id
        lab.pair.standby.sql(f"delete from writes where id = {victim}")
        assert lab.writer.lost(lab.pair.standby) == [*lost, victim]


def test_the_writer_keeps_to_its_rate_and_never_tries_a_number_twice(lab_folder: Path) -> None:
    with FailoverLab(lab_folder / "rate", net="127.0.33", proxied=False, rate=50) as lab:
        assert patience.came_true(lambda: len(lab.writer.notes().acknowledged) >= 40, seconds=15)
        lab.writer.stop()
        notes = lab.writer.notes()
        numbers = [w.id for w in notes.acknowledged] + [f.id for f in notes.failed]
        assert len(set(numbers)) == len(numbers)
        spent = notes.acknowledged[-1].acknowledged - notes.acknowledged[0].sent
        assert (len(notes.acknowledged) - 1) / spent <= 51


@pytest.mark.needs("ansible", "haproxy")
def test_ansible_reads_the_inventory_as_meant(lab_folder: Path) -> None:
    with FailoverLab(lab_folder / "inventory", net="127.0.34", cluster="shop") as lab:
        path, one = lab.inventory_path, lab.pair.primary
        listed = _ansible(path, "--list")
        assert sorted(listed["postgres"]["children"]) == ["primary", "standby"]
        assert sorted(listed["cluster_shop"]["children"]) == ["primary", "standby"]
        assert listed["loadbalancer"]["hosts"] == ["lb"]
        variables = _ansible(path, "--host", "db1")
        assert variables["postgres_fence"] == [one.script("pg-fence")]
        assert variables["postgres_port"] == one.port
        assert variables["cluster"] == "shop"
        assert one.sql("select 1") == "1"
        secret = one.password_file.read_text().strip()
        assert secret not in path.read_text()


def _ansible(path: Path, *arguments: str) -> dict[str, Any]:
    argv = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(path), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


STARTER = """
import sys
from pathlib import Path
from mimrun.lab.failover import FailoverLab
lab = FailoverLab(Path(sys.argv[1]), net="127.0.37", proxied=False)
lab.start()
lab.keep()
print(len(lab.writer.notes().acknowledged))
"""


def test_parts_that_are_kept_outlive_their_starter_until_they_are_ended(lab_folder: Path) -> None:
    folder = lab_folder / "kept"
    argv = [sys.executable, "-c", STARTER, str(folder)]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    notes = folder / "writer" / "writes.jsonl"
    before = len(notes.read_text().splitlines())
    assert before >= int(done.stdout) >= 1
    assert patience.came_true(lambda: len(notes.read_text().splitlines()) >= before + 20, seconds=10)
    assert leftover.stop_all(folder) >= 5
    assert leftover.find_all(folder) == []


@pytest.mark.needs("haproxy")
def test_what_the_proxy_refuses_is_said_in_words(lab_folder: Path) -> None:
    with HaProxy(lab_folder / "words", (Server("a", "127.0.0.1", 9),), net="127.0.35") as proxy:
        assert "No such" in proxy.command("disable server postgres/nobody")
        assert proxy.admin_socket.is_socket()
    with pytest.raises(LabError, match="does not answer"):
        proxy.command("show info")


@pytest.mark.needs("haproxy")
def test_a_proxy_that_cannot_start_says_why(lab_folder: Path) -> None:
    with pytest.raises(LabError, match=r"'server postgres/bad' : unknown keyword"):
        HaProxy(lab_folder / "bad", (Server("bad name", "127.0.0.1", 9),), net="127.0.36").start()


def test_a_missing_proxy_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "installed", lambda *names: None)
    assert not haproxy.is_installed()
    with pytest.raises(LabError, match="apt-get install haproxy"):
        haproxy.find()
