"""A sealed pack: runs with nothing but the machine, and what was done with it comes back with proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mimrun.app.breakglass.merge import merge, segment_entries
from mimrun.app.breakglass.pack import Packed, inspect, pack, settings_of_pack, unpack
from mimrun.app.home import lay_home, open_home
from mimrun.app.identity import identify
from mimrun.errors import InputError, MimrunError, RefusedError, TamperError
from mimrun.gate.people import People
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import IncidentNote, Kind
from mimrun.log.moment import utc_now
from mimrun.log.proof.bundle import export
from mimrun.log.proof.note import read_vkey
from mimrun.log.proof.verify import Trust, verify
from mimrun.settings import Settings

ACTOR = Actor("person", "responder", "cli", "os-user")
BOOK = """\
schema: mimrun/1
name: mark
version: 1.0.0
title: Leave a mark
stage: containment
risk: low
owner: team
hosts: localhost
steps:
  - name: A mark is left
    local.command: {argv: [touch, "{{ where }}"]}
inputs:
  where: {type: string, pattern: "/[a-z0-9/_.-]+"}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    library = tmp_path / "library" / "containment"
    library.mkdir(parents=True)
    (library / "mark.yaml").write_text(BOOK)
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(tmp_path / "library"))
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[web]\nlocalhost ansible_connection=local\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("port: 80\n")
    settings = Settings(
        home=tmp_path / "home", inventory=inventory, seen=tmp_path / "seen", origin="example.org/log"
    )
    lay_home(settings)
    return settings


def sealed(settings: Settings, path: Path, **more: object) -> Packed:
    with open_home(settings) as home:
        return pack(home, identify(People(), None), path, inventories=(), **more)  # type: ignore[arg-type]


def opened(settings: Settings, tmp_path: Path, name: str = "emergency") -> Settings:
    path = tmp_path / f"{name}.pack"
    sealed(settings, path)
    return unpack(inspect(path, Trust()), tmp_path / name, ACTOR, now=utc_now())[0]


def test_a_pack_holds_runbooks_inventory_and_rules_and_is_vouched_for(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "p.pack"
    made = sealed(settings, path)
    assert made.signed
    assert set(made.files) == {
        "runbooks/containment/mark.yaml",
        "inventory/0/hosts.ini",
        "inventory/0/group_vars/web.yml",
        "people.yaml",
    }
    contents = inspect(path, Trust())
    assert contents.log == "example.org/log"
    assert sorted(contents.names()) == sorted(made.files)
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_a_pack_holds_no_secret_of_the_home(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path)
    names = inspect(path, Trust()).names()
    assert not [name for name in names if "key" in name or name.endswith(".db") or "signer" in name]
    assert (settings.home / "blob.key").read_bytes() not in path.read_bytes()


def test_every_byte_of_a_pack_that_is_changed_is_found(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path)
    data = bytearray(path.read_bytes())
    other = tmp_path / "other.pack"
    for at in range(0, len(data), max(1, len(data) // 150)):
        data[at] ^= 1
        other.write_bytes(data)
        with pytest.raises(MimrunError):
            inspect(other, Trust())
        data[at] ^= 1


def test_a_pack_that_another_log_has_sealed_is_not_vouched_for(settings: Settings, tmp_path: Path) -> None:
    stranger = replace(settings, home=tmp_path / "stranger")
    lay_home(stranger)
    path = tmp_path / "p.pack"
    sealed(stranger, path)
    with open_home(settings) as home:
        (entry,) = home.store.entries(kinds={Kind.LOG_KEY})
    ours = read_vkey(entry.body.vkey)  # type: ignore[attr-defined]
    with pytest.raises(TamperError, match="not the key that you trust"):
        inspect(path, Trust(keys=(ours,)))


def test_a_bundle_that_is_no_pack_is_said_to_be_none(settings: Settings, tmp_path: Path) -> None:
    with open_home(settings) as home:
        export(home.store, tmp_path / "all.zip")
    with pytest.raises(InputError, match="and no pack"):
        inspect(tmp_path / "all.zip", Trust())


def test_a_pack_whose_time_is_over_is_opened_only_by_wish(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path, expires=timedelta(days=1))
    contents = inspect(path, Trust())
    late = utc_now() + timedelta(days=2)
    with pytest.raises(RefusedError, match="the pack was good until"):
        unpack(contents, tmp_path / "e", ACTOR, now=late)
    assert not (tmp_path / "e").exists()
    unpack(contents, tmp_path / "e", ACTOR, now=late, expired=True)
    assert (tmp_path / "e" / "runbooks" / "containment" / "mark.yaml").read_text() == BOOK


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a\\..\\out"])
def test_no_file_of_a_pack_leaves_its_folder(settings: Settings, tmp_path: Path, name: str) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path)
    contents = inspect(path, Trust())
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr(name, "x")
    with pytest.raises(InputError, match="outside of the folder"):
        unpack(replace(contents, files=bad.read_bytes()), tmp_path / "e", ACTOR, now=utc_now())
    assert not list(tmp_path.rglob("out"))


def test_what_was_done_with_a_pack_is_merged_with_proof(settings: Settings, tmp_path: Path) -> None:
    emergency = opened(settings, tmp_path)
    assert emergency.origin.startswith("example.org/log/pack-")
    with open_home(emergency) as home:
        assert verify(home.store).ok
    with open_home(settings) as home:
        merged = merge(home, identify(People(), None), emergency.home, reason="the network was down")
        assert merged.new == merged.entries
        kinds = [entry.kind for entry in segment_entries(home, merged.seq)]
        assert kinds[0] == Kind.LOG_GENESIS
        assert Kind.BREAKGLASS_UNPACKED in kinds
        assert verify(home.store).ok
        with pytest.raises(RefusedError, match="merged already"):
            merge(home, identify(People(), None), emergency.home)


def test_more_work_with_a_pack_is_merged_again(settings: Settings, tmp_path: Path) -> None:
    emergency = opened(settings, tmp_path)
    with open_home(settings) as home:
        first = merge(home, identify(People(), None), emergency.home)
    with open_home(emergency) as home:
        home.store.append([draft_note()])
    with open_home(settings) as home:
        again = merge(home, identify(People(), None), emergency.home, incident=first.incident)
    assert again.new >= 1
    assert again.entries > first.entries


def draft_note() -> Draft:
    return Draft(ACTOR, IncidentNote(), inc="INC-1", blobs=(Blob("text", b"looked", "text"),))


def test_a_log_that_was_written_anew_is_not_merged(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path)
    contents = inspect(path, Trust())
    first, _ = unpack(contents, tmp_path / "one", ACTOR, now=utc_now(), entropy=bytes)
    second, _ = unpack(contents, tmp_path / "two", ACTOR, now=utc_now(), entropy=bytes)
    with open_home(second) as home:
        home.store.append([draft_note()])
    with open_home(settings) as home:
        merge(home, identify(People(), None), first.home)
        with pytest.raises(TamperError, match="does not begin with them any more"):
            merge(home, identify(People(), None), second.home)


def test_one_pack_is_opened_on_two_machines_and_both_are_merged(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "p.pack"
    sealed(settings, path)
    contents = inspect(path, Trust())
    homes = [unpack(contents, tmp_path / name, ACTOR, now=utc_now())[0] for name in ("one", "two")]
    with open_home(homes[1]) as home:
        home.store.append([draft_note()])
    with open_home(settings) as home:
        merged = [merge(home, identify(People(), None), one.home) for one in homes]
        assert len({one.origin for one in merged}) == 2
        for one in homes:
            with pytest.raises(RefusedError, match="merged already"):
                merge(home, identify(People(), None), one.home)


def test_a_pack_of_another_log_is_not_merged(settings: Settings, tmp_path: Path) -> None:
    stranger = replace(settings, home=tmp_path / "stranger", origin="example.org/other")
    lay_home(stranger)
    emergency = opened(stranger, tmp_path)
    with (
        open_home(settings) as home,
        pytest.raises(RefusedError, match=r"made from the log example\.org/other"),
    ):
        merge(home, identify(People(), None), emergency.home)


def test_a_segment_that_was_changed_is_not_merged(settings: Settings, tmp_path: Path) -> None:
    emergency = opened(settings, tmp_path)
    path = tmp_path / "segment.zip"
    with open_home(emergency) as home:
        export(home.store, path)
    data = path.read_bytes()
    at = data.index(b"breakglass.unpacked")
    path.write_bytes(data[:at] + b"B" + data[at + 1 :])
    with open_home(settings) as home:
        size = home.store.head().size
        with pytest.raises(MimrunError):
            merge(home, identify(People(), None), path)
        assert home.store.head().size == size


def test_the_folder_of_a_pack_is_known_by_what_is_in_it(settings: Settings, tmp_path: Path) -> None:
    emergency = opened(settings, tmp_path)
    assert settings_of_pack(emergency.home).origin == emergency.origin
    assert json.loads((emergency.home / "pack.json").read_text())["origin"] == "example.org/log"
    assert "MIMRUN_RUNBOOKS" in (emergency.home / "env").read_text()


@pytest.mark.needs("root")
def test_a_pack_runs_on_a_machine_without_any_network(settings: Settings, tmp_path: Path) -> None:
    emergency = opened(settings, tmp_path)
    home, mark = emergency.home, tmp_path / "marked"
    mimrun = Path(sys.executable).with_name("mimrun")
    script = (
        f". {home}/env && ! ip route | grep . && {mimrun} run --direct --yes"
        f" mark where={mark} && {mimrun} log verify"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    said = subprocess.run(
        ["unshare", "-n", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        timeout=60,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert mark.exists()
    with open_home(settings) as opened_home:
        merged = merge(opened_home, identify(People(), None), home)
        assert len(merged.runs) == 1
        assert Kind.RUN_ENDED in [entry.kind for entry in segment_entries(opened_home, merged.seq)]
