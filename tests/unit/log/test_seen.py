"""What was seen of a log is kept, only grows, and tells every shorter or other log apart."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import SettingsError, TamperError
from mimrun.log.proof.note import Checkpoint, SigningKey, sign_note
from mimrun.log.proof.seen import Seen, Sight, check_seen, difference, look_at

AT = "2026-11-22T10:00:00.000000Z"
PLACE = "/home/alex/log.db"


class Log:
    """Leaf hashes of a log."""

    def __init__(self, *leaves: str, log: str = "a.example/log") -> None:
        self.leaves, self.log = leaves, log

    def leaf_at(self, seq: int) -> str:
        return self.leaves[seq - 1] if 0 < seq <= len(self.leaves) else ""

    def end(self) -> tuple[int, str]:
        return len(self.leaves), self.leaves[-1]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.integers(1, 8), st.integers(0, 7))
def test_a_log_that_goes_on_is_accepted_and_every_other_is_not(
    leaves: list[str], size: int, changed: int
) -> None:
    # A leaf commits to all before it, so a prefix stands for it here.
    chain = ["".join(leaves[: n + 1]) for n in range(len(leaves))]
    size = min(size, len(chain))
    sight = look_at(Log(*chain[:size]), AT)
    assert difference(sight, Log(*chain)) == ""
    if size > 1:
        assert "entries now: ent" in difference(sight, Log(*chain[: size - 1]))
    if changed < size:
        other = [*leaves[:changed], "x", *leaves[changed + 1 :]]
        assert difference(sight, Log(*("".join(other[: n + 1]) for n in range(len(other)))))
    assert "another log" in difference(sight, Log(*chain, log="b.example/log"))


def test_what_is_seen_only_grows(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "deep" / "seen")
    assert seen.last("a.example/log", "a") is None
    for size in (5, 9, 7, 9):
        seen.see(PLACE, Sight("a.example/log", "a", size, f"leaf-{size}", AT))
    known = seen.last("a.example/log", "a")
    assert known is not None
    assert (known.size, known.leaf) == (9, "leaf-9")
    assert (tmp_path / "deep" / "seen").stat().st_mode & 0o077 == 0


def test_a_signature_that_comes_behind_what_was_seen_is_kept_too(tmp_path: Path) -> None:
    seen, key = Seen(tmp_path), SigningKey("a.example/log", bytes(32))
    notes = {n: sign_note(Checkpoint("a.example/log", n, bytes(32)).text(), [key]) for n in (5, 8, 9)}
    for size, leaf, note in ((9, "leaf-9", 5), (9, "leaf-9", 9), (8, "leaf-8", 8)):
        seen.see(PLACE, Sight("a.example/log", "a", size, leaf, AT, notes[note]))
    known = seen.last("a.example/log", "a")
    assert known is not None
    assert (known.size, known.leaf, known.note) == (9, "leaf-9", notes[9])
    seen.begin_anew(PLACE, replace(known, size=3, leaf="leaf-3"))
    assert seen.last("a.example/log", "a") == replace(known, size=3, leaf="leaf-3")


def test_two_logs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.see("/one", look_at(Log("a", "ab", "abc"), AT))
    check_seen(seen, "/two", Log("x"))
    seen.see("/two", look_at(Log("x"), AT))
    check_seen(seen, "/one", Log("a", "ab", "abc", "abcd"))
    check_seen(seen, "/two", Log("x", "xy"))
    with pytest.raises(TamperError, match="entries 2 to 3 are not there any more"):
        check_seen(seen, "/one", Log("a"))
    # Moved to another folder it is still the same log.
    with pytest.raises(TamperError, match="entry 3 is not there"):
        check_seen(seen, "/moved", Log("a", "ab"))


def test_another_log_in_the_place_of_a_known_one_is_noticed(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.see(PLACE, look_at(Log("a"), AT))
    seen.see(PLACE, look_at(Log("a", "ab"), AT))
    with pytest.raises(TamperError) as caught:
        check_seen(seen, PLACE, Log("x", "xy", "xyz"))
    said = str(caught.value)
    assert "with 2 entries" in said
    assert "it is another log from its first entry on, with 3 entries" in said
    assert "mimrun log accept" in said


def test_a_log_that_comes_back_to_a_place_where_another_was_seen_since_is_noticed(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    first, other = Log("a", "ab"), Log("x", "xy")
    seen.see(PLACE, look_at(first, AT))
    with pytest.raises(TamperError, match="another log"):
        check_seen(seen, PLACE, other)
    seen.begin_anew(PLACE, look_at(other, AT))
    check_seen(seen, PLACE, other)
    with pytest.raises(TamperError, match="another log"):
        check_seen(seen, PLACE, Log("a", "ab", "abc"))
    # Where nothing was seen, it is still the log that it was elsewhere.
    check_seen(seen, "/elsewhere", Log("a", "ab", "abc"))
    with pytest.raises(TamperError, match="entry 2 is not there"):
        check_seen(seen, "/elsewhere", Log("a"))


def test_what_cannot_be_read_or_kept_is_said_with_the_file(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.see(PLACE, look_at(Log("a"), AT))
    (file,) = tmp_path.glob("log-*.json")
    for broken in ("", "{", "[]", json.dumps({"log": "a"}), file.read_text().replace("1,", '"1",')):
        file.write_text(broken)
        with pytest.raises(SettingsError, match=file.name):
            seen.last("a.example/log", "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="MIMRUN_SEEN"):
        Seen(tmp_path / "file" / "seen").see(PLACE, look_at(Log("a"), AT))


def test_several_processes_that_see_at_once_keep_the_largest(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mimrun.log.proof.seen import Seen, Sight\n"
        "for n in range(int(sys.argv[2]), 120, 3):\n"
        "    Seen(Path(sys.argv[1])).see('/p', Sight('l', 'f', n, f'leaf-{n}', 'now'))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, tmp_path, str(n)]) for n in (1, 2, 3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    known = Seen(tmp_path).last("l", "f")
    assert known is not None
    assert (known.size, known.leaf) == (119, "leaf-119")
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_process_that_is_stopped_with_the_lock_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimrun.log.proof.seen.PATIENCE_S", 0.1)
    seen = Seen(tmp_path)
    sight = Sight("a.example/log", "a", 5, "leaf-5", AT)
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SettingsError, match="held its lock"):
            seen.see(PLACE, sight)
    seen.see(PLACE, sight)
    assert seen.last("a.example/log", "a") == sight
