"""Anchors on the command line: files, another host, HTTP, a witness; and what a changed log meets there."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.commands import Desk, mark
from builders.witness import Witness, serving

from mimrun.lab import leftover
from mimrun.lab.sshd import SshdHosts
from mimrun.log.proof.note import read_note, read_vkey

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "anchor-the-log.md"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def anchors(desk: Desk, text: str) -> None:
    (desk.home / "anchors.yaml").write_text(f"anchors:\n{text}")


def tried(desk: Desk) -> list[dict[str, Any]]:
    lines = desk("log", "show", "--json").out.splitlines()
    return [entry for line in lines if (entry := json.loads(line))["kind"] == "log.anchored"]


def vkey(desk: Desk) -> str:
    """The log's first key."""
    lines = desk("log", "show", "--json").out.splitlines()
    return next(entry["body"]["vkey"] for line in lines if (entry := json.loads(line))["kind"] == "log.key")


def test_a_file_gets_a_checkpoint_each_time_and_the_log_is_compared_with_all_of_them(desk: Desk) -> None:
    kept = desk.folder / "kept"
    kept.write_text("other.example.org\n7\n" + "A" * 43 + "=\n\n— other.example.org " + "B" * 91 + "=\nscrap")
    anchors(desk, f"  - {{name: disk, file: {kept}}}\n")
    assert "never tried" in desk("log", "anchors").out
    dry = desk("log", "anchor", "--dry-run")
    assert (dry.code, str(kept) in dry.out, "mimrun\n" in kept.read_text()) == (0, True, False)
    for _ in range(2):
        assert desk.run(desk.runbook(mark("one"))).code == 0
        said = desk("log", "anchor")
        assert said.code == 0, said.out + said.err
    assert kept.read_text().count("\n— mimrun ") == 2
    assert [entry["body"]["done"] for entry in tried(desk)] == [True, True]
    (view,) = desk("log", "anchors", "--json").json
    assert (view["anchor"], view["size"], view["failures"]) == ("disk", tried(desk)[-1]["body"]["size"], 0)
    assert view["behind"] > 0
    report = desk("log", "verify", "--anchors", "--json")
    assert report.code == 0, report.out
    assert report.json["since"] == view["size"]
    assert f"entries up to {view['size']} are those whose checkpoint disk has" in report.json["proven"]


def test_a_place_that_does_not_take_it_ends_with_1_and_the_others_get_theirs(desk: Desk) -> None:
    anchors(
        desk,
        f"  - {{name: gone, file: {desk.folder}/nowhere/kept}}\n"
        "  - {name: no-host, host: db9, ssh.command: {argv: [keep], stdin: '{{ note }}'}}\n"
        "  - {name: fails, local.shell: {cmd: 'echo no >&2; exit 3', stdin: '{{ note }}'}}\n"
        "  - {name: hangs, timeout: 1s, local.shell: {cmd: 'sleep 60', stdin: '{{ note }}'}}\n"
        f"  - {{name: disk, file: {desk.folder}/kept}}\n",
    )
    said = desk("log", "anchor")
    assert said.code == 1, said.out
    told = {entry["body"]["anchor"]: entry["body"] for entry in tried(desk)}
    assert {name: body["done"] for name, body in told.items()} == {
        "gone": False,
        "no-host": False,
        "fails": False,
        "hangs": False,
        "disk": True,
    }
    assert "No such file" in told["gone"]["reason"]
    assert "db9" in told["no-host"]["reason"]
    assert "3" in told["fails"]["reason"]
    assert told["hangs"]["reason"]
    assert "failing since" in desk("log", "anchors", "fails").out
    assert desk("log", "anchor", "disk").code == 0
    assert desk("log", "anchor", "disc").code == 2
    # What cannot be read back is not proven; what should answer and does not, ends with 1.
    report = desk("log", "verify", "--anchors")
    assert (report.code, "intact" in report.out) == (1, True), report.out
    assert "that it is what hangs has: it cannot be read back" in report.out


def test_without_anchors_and_with_a_wrong_file_it_says_what_to_do(desk: Desk) -> None:
    none = desk("log", "anchor")
    assert (none.code, "anchor-the-log.md" in none.err) == (2, True)
    anchors(desk, "  - {name: disk, fil: /x}\n")
    for words in (["log", "anchor"], ["log", "anchors"], ["log", "verify", "--anchors"]):
        wrong = desk(*words)
        assert (wrong.code, "anchors.yaml:2:18: unknown key 'fil'" in wrong.err) == (2, True), wrong.err


def test_an_old_copy_of_the_log_is_refused_by_the_file_and_the_witness_and_by_verify(desk: Desk) -> None:
    witness = Witness(desk.folder / "memory", {"mimrun": [vkey(desk)]})
    kept = desk.folder / "kept"
    with serving(witness) as address:
        anchors(
            desk,
            f"  - {{name: disk, file: {kept}}}\n"
            f"  - {{name: witness, witness: {{url: '{address}', vkey: '{witness.vkey}'}}}}\n",
        )
        assert desk("log", "anchor").code == 0
        old = desk.folder / "old"
        shutil.copytree(desk.home, old)
        desk.run(desk.runbook(mark("one")))
        said = desk("log", "anchor")
        assert said.code == 0, said.out
        given = tried(desk)[-1]["body"]["size"]
        good = desk("log", "verify", "--anchors")
        assert good.code == 0, good.out
        size = witness.known("mimrun")[0]
        assert f"entries up to {size} are those whose checkpoint witness has" in good.out

        shutil.rmtree(desk.home)
        shutil.copytree(old, desk.home)
        blind = {"MIMRUN_SEEN": str(desk.folder / "another-account")}
        found = desk("log", "verify", "--anchors", **blind)
        assert found.code == 6
        assert f"the log had {given} entries when disk was given a checkpoint" in found.out
        assert f"witness contradicts this log: it has seen a log of {size} entries" in found.out
        again = desk("log", "anchor", "--json", **blind)
        assert again.code == 6
        assert [one["against"] for one in again.json] == [True, True]
        assert witness.known("mimrun")[0] == size
        assert kept.read_text().count("\n— mimrun ") == 2


def test_a_witness_keeps_up_with_a_log_that_grows_and_its_signature_is_the_receipt(desk: Desk) -> None:
    witness = Witness(desk.folder / "memory", {"mimrun": [vkey(desk)]})
    with serving(witness) as address:
        anchors(desk, f"  - {{name: w, witness: {{url: '{address}/', vkey: '{witness.vkey}'}}}}\n")
        assert desk.run(desk.runbook(mark("one"))).code == 0
        for _ in range(3):
            assert desk("note", "something").code == 0
            assert desk("log", "anchor").code == 0
        assert witness.requests[0].startswith("old 0\n")
        assert len(witness.requests) == 3
        last = tried(desk)[-1]
        out = desk("log", "show", "--json", "--blobs", "--after", str(last["seq"] - 1)).out.splitlines()[0]
        receipt = json.loads(out)["blobs"]["receipt"]
        signed = read_note(receipt).signed([read_vkey(witness.vkey), read_vkey(vkey(desk))])
        assert [one.moment is None for one in signed] == [True, False]
        (desk.folder / "receipt").write_text(receipt)
        assert desk("log", "verify", "--checkpoint", str(desk.folder / "receipt")).code == 0
    down = desk("log", "anchor")
    assert (down.code, "http" in down.out) == (1, True)
    assert desk("log", "verify", "--anchors").code == 1
    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    assert checks["anchor w"]["ok"] is False
    assert "failing since" in checks["anchor w"]["found"]


@pytest.fixture(scope="module")
def anchor_host() -> Iterator[tuple[SshdHosts, Path]]:
    """A host whose one key can keep and show checkpoints, and do nothing else, as the page says."""
    folder = Path(tempfile.mkdtemp(prefix="mimrun-anchor-"))
    folder.chmod(0o711)
    script = re.search(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    options = re.search(
        r'^(restrict,command=")/usr/local/bin/keep-checkpoints \S+"', PAGE.read_text("utf-8"), re.M
    )
    assert script is not None
    assert options is not None
    program = folder / "keep-checkpoints"
    program.write_text(script[1])
    program.chmod(0o755)
    kept = folder / "files" / "incidents"
    kept.parent.mkdir()
    kept.parent.chmod(0o777)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(leftover.stop_all, folder)
        hosts = stack.enter_context(SshdHosts(folder / "sshd", ["anchor1"], net="127.0.27"))
        keys = folder / "sshd" / "anchor1" / "authorized_keys"
        keys.write_text(f'{options[1]}{program} {kept}" {keys.read_text()}')
        yield hosts, kept


@pytest.mark.needs("sshd")
def test_another_host_keeps_them_by_a_key_that_can_do_nothing_else(
    desk: Desk, anchor_host: tuple[SshdHosts, Path]
) -> None:
    hosts, kept = anchor_host
    host = hosts.host("anchor1")
    inventory = desk.write(
        "hosts.ini",
        f"anchor1 ansible_host={host.address} ansible_port={host.port} ansible_user={host.user}"
        f" ansible_ssh_private_key_file={host.key_path} ssh_known_hosts={host.known_hosts_path}\n",
    )
    env = {"MIMRUN_INVENTORY": str(inventory)}
    anchors(
        desk,
        "  - name: anchor-host\n    host: anchor1\n"
        "    ssh.command: {argv: [keep], stdin: '{{ note }}'}\n"
        "    read: {ssh.command: {argv: [show]}}\n",
    )
    for _ in range(3):
        said = desk("log", "anchor", **env)
        assert said.code == 0, said.out
    assert kept.read_text().count("\n— mimrun ") == 3
    checked = desk("log", "verify", "--anchors", **env)
    assert (checked.code, "whose checkpoint anchor-host has" in checked.out) == (0, True), checked.out
    copied = desk.write("copied", kept.read_text())
    assert desk("log", "verify", "--checkpoint", str(copied)).code == 0
    # The OpenSSH client is held to it as well, and nothing else can be done with the key.
    shown = subprocess.run(host.command("show"), capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout == kept.read_text()
    other = subprocess.run(
        host.command("rm", str(kept)), capture_output=True, text=True, check=False, timeout=30
    )
    assert (other.returncode, other.stderr.strip()) == (1, "only keep and show")
    assert kept.read_text() == shown.stdout

    kept.write_text(kept.read_text()[:-90])  # somebody has cut it
    lost = desk("log", "verify", "--anchors", **env)
    assert (lost.code, "anchor-host does not have the checkpoint of size" in lost.out) == (6, True), lost.out
