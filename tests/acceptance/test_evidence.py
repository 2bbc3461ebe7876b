"""A bundle that the demo exported is checked on a machine without mimrun; copies that were tampered with are refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders.bundles import lines, members, rewritten, rezipped

from mimrun.canonical import encode
from mimrun.lab import folder as lab
from mimrun.log.proof.note import SigningKey, read_note, sign_note

PYTHON = "/usr/bin/python3"
ENTER = 'mount -o bind,ro /usr "$0/usr" && exec chroot "$0" "$@"'
"""The root of the other machine has the system's programs, and what is in `case`; no more of this machine."""
FOREIGN = SigningKey("mimrun-demo", bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Machine:
    """Another machine: a root folder, a process tree and a network (without anything in it) of its own.

    Arguments:
        root: its root folder; what is to be checked lies in `case`.
    """

    root: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        alone = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"]
        return subprocess.run(
            [*alone, "sh", "-c", ENTER, str(self.root), *words],
            cwd="/",
            env={"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def check(self, bundle: Path, key: str) -> subprocess.CompletedProcess[str]:
        """Copy a bundle there, and nothing else, and check it."""
        shutil.copy(bundle, self.root / "case" / "evidence.mimlog")
        return self.run(PYTHON, "/case/verify.py", "/case/evidence.mimlog", "--key", key)


@dataclass(frozen=True, slots=True)
class Played:
    """What a demo left: its report, and the folder that it was played in."""

    report: dict[str, Any]
    folder: Path

    @property
    def bundle(self) -> Path:
        return Path(self.report["evidence"]["bundle"])

    @property
    def key(self) -> str:
        return str(self.report["evidence"]["key"])

    def entry(self, kind: str) -> int:
        """Give the place in the bundle of the first entry of a kind."""
        return next(n for n, line in enumerate(lines(self.bundle)) if json.loads(line)["kind"] == kind)


def mimrun(where: Path, *words: str) -> str:
    """Run a command with the demo's home; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", "from mimrun.cli import main; main()", *words, "--home", str(where / "home")],
        env={**os.environ, "TMPDIR": str(where / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """The demo, played once."""
    with lab.temporary() as where:
        (where / "tmp").mkdir()
        where.chmod(0o777)
        (where / "tmp").chmod(0o1777)
        yield Played(json.loads(mimrun(where, "demo", "--direct", "--json")), where)


@pytest.fixture
def machine(played: Played, tmp_path: Path) -> Machine:
    """A machine that has nothing but its own programs, and the verifier."""
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} here, so nothing to play another machine with (apt install python3)")
    root = tmp_path / "root"
    for name in ("usr", "case"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(played.report["evidence"]["verifier"], root / "case" / "verify.py")
    return Machine(root)


Tamper = Callable[[Played], Mapping[str, bytes | None]]
"""Gives the members that are other; None leaves one out. The manifest is made to fit."""


def one_word(played: Played) -> Mapping[str, bytes | None]:
    """Who decided is exchanged."""
    at = played.entry("gate.decided")
    changed = lines(played.bundle)
    changed[at] = changed[at].replace(b'"id":"change-manager"', b'"id":"responder"')
    return {"entries.jsonl": b"".join(changed)}


def left_out(played: Played) -> Mapping[str, bytes | None]:
    """An entry is taken out, with its proof."""
    at = played.entry("gate.decided")
    return {name: without(lines(played.bundle, name), at) for name in ("entries.jsonl", "proofs.jsonl")}


def put_in(played: Played) -> Mapping[str, bytes | None]:
    """An entry stands twice, with its proof."""
    at = played.entry("gate.decided")
    doubled = {name: lines(played.bundle, name) for name in ("entries.jsonl", "proofs.jsonl")}
    return {name: b"".join([*found[: at + 1], *found[at:]]) for name, found in doubled.items()}


def other_blob(played: Played) -> Mapping[str, bytes | None]:
    """What a target answered is exchanged."""
    name = blob_of(played)
    return {name: members(played.bundle)[name] + b" "}


def no_blob(played: Played) -> Mapping[str, bytes | None]:
    """What a target answered is taken out."""
    return {blob_of(played): None}


def foreign_signature(played: Played) -> Mapping[str, bytes | None]:
    """Another key of the same name signs the checkpoint."""
    text = read_note(members(played.bundle)["checkpoint"]).text
    return {"checkpoint": sign_note(text, [FOREIGN]).encode()}


def foreign_key(played: Played) -> Mapping[str, bytes | None]:
    """The log is made to announce the forger's key, who signs the checkpoint with it."""
    about, public = lines(played.bundle, "log.jsonl"), FOREIGN.verifying()
    at = next(n for n, line in enumerate(about) if json.loads(line)["kind"] == "log.key")
    entry = json.loads(about[at])
    entry["body"] |= {"keyid": public.keyid, "vkey": public.vkey}
    about[at] = encode(entry) + b"\n"
    return {"log.jsonl": b"".join(about), **foreign_signature(played)}


def no_checkpoint(played: Played) -> Mapping[str, bytes | None]:
    """Nobody has signed."""
    return {"checkpoint": None}


def other_runbook(played: Played) -> Mapping[str, bytes | None]:
    """The runbook that ran is exchanged for another."""
    name = next(name for name in members(played.bundle) if name.startswith("runbooks/"))
    return {name: members(played.bundle)[name] + b"# harmless\n"}


def blob_of(played: Played) -> str:
    at = played.entry("step.outcome")
    [ref, *_] = json.loads(lines(played.bundle)[at])["blobs"]
    return f"blobs/{ref['commit']}"


def without(found: list[bytes], at: int) -> bytes:
    return b"".join([*found[:at], *found[at + 1 :]])


NAMED: Mapping[str, tuple[Tamper, str, str]] = {
    "an entry changed": (one_word, "gate.decided", "it is not what was in the log at this place"),
    "an entry left out": (left_out, "gate.decided+1", "one entry of the incident before it is missing"),
    "an entry twice": (put_in, "gate.decided", "it is not the next entry of incident"),
    "an answer exchanged": (other_blob, "step.outcome", "is not what was recorded"),
    "an answer left out": (no_blob, "step.outcome", "is missing"),
    "a foreign key": (foreign_key, "log.key", "it is not what was in the log at this place"),
    "a foreign signature": (foreign_signature, "", "no key of the log has signed it"),
    "no signature": (no_checkpoint, "", "nobody has signed"),
    "a runbook exchanged": (other_runbook, "", "runbooks/"),
}
"""What was tampered with: how, the kind of the entry that must be named ("" for none), and words that must be said."""


def place_of(played: Played, kind: str) -> str:
    """Give how the entry is named that a message must name."""
    name, _, more = kind.partition("+")
    if name == "log.key":
        about = [json.loads(line) for line in lines(played.bundle, "log.jsonl")]
        return next(f"entry {entry['seq']}: " for entry in about if entry["kind"] == name)
    at = played.entry(name)
    return f"entry {json.loads(lines(played.bundle)[at + int(more or 0)])['seq']}: "


@pytest.mark.needs("postgres", "sshd")
def test_what_the_demo_tells_of_its_evidence_is_what_the_two_files_say_to_anybody(played: Played) -> None:
    evidence, folder = played.report["evidence"], played.folder
    assert evidence["without_mimrun"] == "ModuleNotFoundError: No module named 'mimrun'"
    asked = [sys.executable, "-I", "-S", evidence["verifier"], evidence["bundle"], "--key", played.key]
    again = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert (again.returncode, again.stdout.strip()) == (0, evidence["said"])
    assert [key["vkey"] for key in json.loads(mimrun(folder, "key", "show", "--json"))["keys"]] == [
        played.key
    ]
    shown = mimrun(folder, "log", "show", "--incident", played.report["incident"], "--json").splitlines()
    assert sum(json.loads(line)["seq"] <= evidence["size"] for line in shown) == evidence["entries"]
    refused = {each["name"]: each["why"] for each in evidence["forgeries"] if each["refused"]}
    assert set(refused) == {"edited", "cut", "signed"}
    assert refused["edited"].startswith(place_of(played, "gate.decided"))
    assert "3 entries are missing at the incident's end" in refused["cut"]
    assert "no key of the log has signed it" in refused["signed"]


@pytest.mark.needs("postgres", "sshd", "netns")
def test_the_demos_bundle_verifies_on_a_machine_without_mimrun_and_each_tampered_copy_fails_by_name(
    played: Played, machine: Machine, tmp_path: Path
) -> None:
    # 1. the machine has neither mimrun nor anything else of this one
    there = machine.run(PYTHON, "-c", "import os; print(sorted(os.listdir('/'))); import mimrun")
    assert there.stdout == "['bin', 'case', 'lib', 'lib64', 'usr']\n"
    assert "No module named 'mimrun'" in there.stderr
    # 2. the bundle verifies
    good = machine.check(played.bundle, played.key)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.strip() == played.report["evidence"]["said"]
    assert "nothing was left out of the incident, nor cut from its end" in good.stdout
    # 3. each tampered copy fails, and says which entry or which part is wrong
    for name, (tamper, kind, words) in NAMED.items():
        forged = rewritten(played.bundle, tmp_path, tamper(played))
        said = machine.check(forged, played.key)
        assert said.returncode == 1, f"{name}: {said.stdout}{said.stderr}"
        told = [line.strip() for line in said.stdout.splitlines()]
        named = place_of(played, kind) if kind else ""
        assert any(line.startswith(named) and words in line for line in told), f"{name}: {said.stdout}"


@pytest.mark.needs("postgres", "sshd", "netns")
def test_every_end_that_is_cut_off_is_counted_there(played: Played, machine: Machine, tmp_path: Path) -> None:
    whole, proofs = lines(played.bundle), lines(played.bundle, "proofs.jsonl")
    for gone in (1, 7, len(whole) - 1):
        kept = len(whole) - gone
        cut = {
            "entries.jsonl": b"".join(whole[:kept]),
            "proofs.jsonl": b"".join([*proofs[:kept], *proofs[len(whole) :]]),
        }
        manifest = json.loads(members(played.bundle)["manifest.json"]) | {"entries": kept}
        said = machine.check(rewritten(played.bundle, tmp_path, cut, manifest), played.key)
        assert said.returncode == 1
        counted = "1 entry is" if gone == 1 else f"{gone} entries are"
        assert f"{counted} missing at the incident's end" in said.stdout


@pytest.mark.needs("postgres", "sshd", "netns")
def test_a_copy_that_broke_on_the_way_is_no_evidence_there(
    played: Played, machine: Machine, tmp_path: Path
) -> None:
    data = played.bundle.read_bytes()
    broken = tmp_path / "broken.mimlog"
    for torn in (
        data[: len(data) // 2],
        b"",
        data + b"x",
        bytes([*data[:9999], data[9999] ^ 1, *data[10000:]]),
    ):
        broken.write_bytes(torn)
        said = machine.check(broken, played.key)
        assert said.returncode == 1, said.stdout + said.stderr
        assert "NOT what was recorded" in said.stdout
        assert "Traceback" not in said.stderr


@pytest.mark.needs("postgres", "sshd", "netns")
def test_a_bundle_as_right_but_of_another_key_is_refused_there(played: Played, machine: Machine) -> None:
    said = machine.check(played.bundle, FOREIGN.verifying().vkey)
    assert said.returncode == 1
    assert "which is not the key that you trust" in said.stdout


@pytest.mark.needs("postgres", "sshd", "netns")
def test_a_bundle_packed_again_is_the_same_evidence(played: Played, machine: Machine, tmp_path: Path) -> None:
    same = rezipped(tmp_path / "same.mimlog", members(played.bundle))
    assert same.read_bytes() == played.bundle.read_bytes()
    assert machine.check(same, played.key).returncode == 0
