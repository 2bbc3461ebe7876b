"""Attachments: one reading of a file gives its digest, its type and what is kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.app import attachments
from mimrun.app.attachments import media_type, read_attachments
from mimrun.errors import InputError, RefusedError
from mimrun.log.entry import MAX_BLOB
from mimrun.secret import Masker, Secret

NOTHING = Masker()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", b"words\n", "text/plain"),
        ("a.json", b"{}", "application/json"),
        ("a.csv", b"a,b\n", "text/csv"),
        ("unknown.thing", "wörter".encode(), "text/plain"),
        ("unknown.thing", b"\x00\x01", "application/octet-stream"),
        ("a.txt", b"\xff\xfe\x00", "application/octet-stream"),
        ("a.txt", b"cut off in a letter \xc3", "application/octet-stream"),
        ("lies.txt", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("picture", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("movie.mp4", b"\x00\x00\x00\x18ftyp", "video/mp4"),
        ("page.png", b"only words", "text/plain"),
        ("empty", b"", "text/plain"),
    ],
)
def test_the_type_is_told_by_the_content_and_then_by_the_name(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (read,) = read_attachments([tmp_path / name], NOTHING)
    assert read.media_type == kind
    assert (read.content, read.size, read.name) == (content, len(content), name)
    assert read.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


@given(st.text(max_size=40), st.binary(max_size=40))
def test_a_type_is_always_one_that_the_log_takes(name: str, content: bytes) -> None:
    assert 1 <= len(media_type(name, content, is_text=False)) <= 200


def test_a_letter_across_two_readings_is_still_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "PIECE", 3)
    (tmp_path / "a").write_text("aaäöü€", "utf-8")
    assert read_attachments([tmp_path / "a"], NOTHING)[0].media_type == "text/plain"


def test_what_is_too_large_is_refused_and_its_digest_is_not(tmp_path: Path) -> None:
    large = tmp_path / "core.dump"
    with large.open("wb") as file:
        file.truncate(MAX_BLOB + 1)
    with pytest.raises(InputError, match="--digest-only"):
        read_attachments([large], NOTHING)
    (read,) = read_attachments([large], NOTHING, digest_only=True)
    assert read.content is None
    assert read.size == MAX_BLOB + 1
    assert read.digest == f"sha256:{hashlib.sha256(bytes(MAX_BLOB + 1)).hexdigest()}"
    with large.open("wb") as file:
        file.truncate(MAX_BLOB)
    assert read_attachments([large], NOTHING)[0].size == MAX_BLOB


def test_too_much_together_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "AT_ONCE", 5)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"123")
    with pytest.raises(InputError, match="together"):
        read_attachments([tmp_path / "a", tmp_path / "b"], NOTHING)
    assert len(read_attachments([tmp_path / "a", tmp_path / "b"], NOTHING, digest_only=True)) == 2


def test_only_files_are_read_and_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="not an ordinary file"):
            read_attachments([path], NOTHING)
    with pytest.raises(InputError, match="No such file"):
        read_attachments([tmp_path / "none"], NOTHING)


def test_a_known_secret_in_a_file_is_refused_unless_somebody_insists(tmp_path: Path) -> None:
    masker = Masker([Secret("hunter2-hunter2")])
    (tmp_path / "conf").write_bytes(b"\x00password=hunter2-hunter2\n")
    with pytest.raises(RefusedError) as caught:
        read_attachments([tmp_path / "conf"], masker)
    assert "hunter2" not in str(caught.value)
    assert read_attachments([tmp_path / "conf"], masker, force=True)[0].content is not None
    assert read_attachments([tmp_path / "conf"], masker, digest_only=True)[0].content is None
