"""Files to and from a host: compared by digest first, and put in place by one rename.

Files go through a command and not through SFTP: it is faster, it needs no subsystem, and it works with
`become`. The host needs `sha256sum`, `stat -c` and `mktemp`, which GNU coreutils and busybox have.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from connectors.ssh.actions import Download, Upload
from connectors.ssh.command_line import Remote
from connectors.ssh.execution import Site, nonce, not_started
from connectors.ssh.running import Cut, Task, run
from mimrun.connector import (
    Difference,
    Failed,
    Finding,
    Json,
    LostAnswer,
    Ok,
    Outcome,
    Probed,
    Refused,
    Unknown,
    Unreachable,
)

NEW_MODE: Final = "0644"
SHOWN_TEXT: Final = 64 * 1024
"""Bytes of a file up to which a check shows the difference line by line."""
PIECE: Final = 1024 * 1024

_LOOK: Final = """d=$1; p=${d%/*}/$2
for t in "$p".*; do [ -e "$t" ] && echo pending; done
if [ -d "$d" ]; then echo folder
elif [ -f "$d" ]; then s=$(sha256sum <"$d") || exit 31; a=$(stat -L -c '%s %a %U %G' -- "$d") || exit 32
echo "file ${s%% *} $a"
elif [ -e "$d" ] || [ -L "$d" ]; then echo other
elif [ -d "${d%/*}/" ]; then echo absent
else echo nowhere; fi"""
_PUT: Final = """d=$1 want=$2 mode=$3 owner=$4 kept=$5; umask 077
t=$(mktemp "${d%/*}/$6.XXXXXX") || exit 21
trap 'rm -f -- "$t"' EXIT; trap 'exit 29' HUP INT TERM
cat >"$t" || exit 22; s=$(sha256sum <"$t") || exit 23; [ "${s%% *}" = "$want" ] || exit 24
if [ -n "$owner" ]; then chown -- "$owner" "$t" || exit 25; fi
if [ -n "$kept" ]; then chown -- "$kept" "$t" 2>/dev/null; fi
chmod -- "$mode" "$t" || exit 26; mv -f -- "$t" "$d" || exit 27; trap - EXIT"""
_SET: Final = """d=$1 mode=$2 owner=$3
if [ -n "$owner" ]; then chown -- "$owner" "$d" || exit 25; fi
if [ -n "$mode" ]; then chmod -- "$mode" "$d" || exit 26; fi"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path on the host.

    Arguments:
        kind: `file`, `absent`, `folder`, `other`, or `nowhere` where not even its folder is there.
        digest: SHA-256 of a file's content in hexadecimal.
        size: bytes of a file.
        mode: its permissions in octal, without leading zeros.
        owner: whose it is.
        group: its group.
        pending: whether another upload to this path has begun and not ended.
    """

    kind: str
    digest: str = ""
    size: int = 0
    mode: str = ""
    owner: str = ""
    group: str = ""
    pending: bool = False

    def data(self) -> dict[str, Json]:
        """The same as JSON, for the log and for later steps."""
        if self.kind != "file":
            return {"kind": self.kind}
        return {
            "kind": self.kind,
            "digest": f"sha256:{self.digest}",
            "size": self.size,
            "mode": self.mode.zfill(4),
            "owner": self.owner,
            "group": self.group,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be uploaded: an open file, its SHA-256 in hexadecimal, and its bytes."""

    file: BinaryIO
    digest: str
    size: int


def look(site: Site, path: str) -> Found:
    """Find out what is at a path.

    Raises:
        Refused: it cannot be read.
        LostAnswer, Unreachable: the host did not answer.
    """
    answer = site.ask(["/bin/sh", "-c", _LOOK, "mimrun", path, _pending_name(path)])
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    if answer.status != 0 or not lines:
        raise Refused(f"{site.where}: {path} cannot be read: {answer.stderr or f'exit {answer.status}'}")
    pending = "pending" in lines[:-1]
    kind, *rest = lines[-1].split(" ")
    if kind != "file":
        return Found(kind, pending=pending)
    digest, size, mode, owner, group = rest
    return Found(kind, digest, int(size), mode, owner, group, pending)


def upload(site: Site, action: Upload) -> Outcome:
    """Make the file on the host be what the action says.

    Raises:
        Refused: the source cannot be read, or the host's path is not a file; nothing has been done.
    """
    with _source(action) as source:
        before = _look_first(site, action.dest)
        _require_file(site, action.dest, before)
        if _is_as_wanted(action, source.digest, before):
            return Ok(changed=False, data={"dest": action.dest, **before.data()})
        in_place = before.digest == source.digest
        script = _set_script(action) if in_place else _put_script(action, source, before)
        failure = _send(site, ["/bin/sh", "-c", *script], source.file, clean=not in_place)
    if failure is not None:
        return failure
    try:
        after = look(site, action.dest)
    except (Refused, Unreachable) as exc:
        raise LostAnswer(f"{action.dest} was written and cannot be looked at: {exc}") from exc
    data = {"dest": action.dest, **after.data(), "before": before.data()}
    if not _is_as_wanted(action, source.digest, after):
        reason = f"{site.where}: {action.dest} is not as uploaded: somebody else writes it"
        return Failed(reason, clean=False, data=data)
    return Ok(changed=True, data=data)


def download(site: Site, action: Download) -> Outcome:
    """Make the local file be what the host's file is. The host is only read.

    Raises:
        Refused: the host's file cannot be read or is too big; nothing has been done.
    """
    found = _look_first(site, action.src)
    if found.kind != "file":
        raise Refused(f"{site.where}: {action.src} cannot be fetched: {_words(found)}")
    if found.size > action.max_bytes:
        raise Refused(f"{site.where}: {action.src} has {found.size} bytes; max_bytes is {action.max_bytes}")
    dest = Path(action.dest).expanduser()
    data = {**found.data(), "src": action.src, "dest": str(dest)}
    if dest.is_file() and _digest_of(dest) == found.digest:
        return Ok(changed=False, data=data)
    try:
        failure = _fetch(site, action, found, dest)
    except OSError as exc:
        failure = f"{dest}: {exc.strerror or exc}"
    return Failed(failure, clean=True) if failure else Ok(changed=True, data=data)


def predict_upload(site: Site, action: Upload) -> Difference:
    """Say what an upload would change, line by line where it is a small text."""
    with _source(action) as source:
        before = look(site, action.dest)
        _require_file(site, action.dest, before)
        if _is_as_wanted(action, source.digest, before):
            return Difference(changes=False, detail=f"{action.dest} is as wanted")
        if before.kind == "absent":
            return Difference(changes=True, detail=f"{action.dest} would be created: {source.size} bytes")
        if before.digest == source.digest:
            return Difference(changes=True, detail=f"{action.dest}: {_attributes(action, before)}")
        detail = f"{action.dest}: sha256:{before.digest} would become sha256:{source.digest}"
        if max(before.size, source.size) <= SHOWN_TEXT:
            old = site.ask(["cat", "--", action.dest], limit=SHOWN_TEXT).stdout
            detail = _unified(action.dest, old, source.file.read()) or detail
        return Difference(changes=True, detail=site.call.output.masker.mask_text(detail))


def predict_download(site: Site, action: Download) -> Difference:
    """Say whether a download would write the local file."""
    found = look(site, action.src)
    dest = Path(action.dest).expanduser()
    if found.kind != "file":
        return Difference(None, f"{action.src} cannot be fetched: {_words(found)}", fails=True)
    if found.size > action.max_bytes:
        said = f"{action.src} has {found.size} bytes; max_bytes is {action.max_bytes}"
        return Difference(None, said, fails=True)
    if not dest.parent.is_dir():
        return Difference(None, f"there is no folder {dest.parent} on this machine", fails=True)
    same = dest.is_file() and _digest_of(dest) == found.digest
    return Difference(not same, f"{dest} {'is as on the host' if same else 'would be written'}")


def probe_upload(site: Site, action: Upload) -> Probed:
    """Find out by digest and attributes whether the file is there."""
    with _source(action) as source:
        found = look(site, action.dest)
    if _is_as_wanted(action, source.digest, found):
        return Probed(Finding.APPLIED, f"{action.dest} is as wanted", {"dest": action.dest, **found.data()})
    if found.pending:
        return Probed(Finding.UNKNOWN, f"an upload to {action.dest} has begun and not ended")
    return Probed(Finding.NOT_APPLIED, f"{action.dest} is not as wanted: {_words(found)}")


def _send(site: Site, argv: list[str], file: BinaryIO, *, clean: bool) -> Outcome | None:
    """Run a script that reads the file; None when it did its work.

    Arguments:
        site: where.
        argv: the script.
        file: what it reads.
        clean: whether an exit code above 0 proves that nothing was changed.
    """
    call, errors = site.call, bytearray()

    def keep(_: bytes, stderr: bytes) -> None:
        errors.extend(stderr[: max(4096 - len(errors), 0)])

    remote = Remote(argv, become=site.become)
    result = run(site.connection, Task(remote, nonce(), call.deadline, keep, stdin=file, stop=call.stop))
    said = call.output.masker.mask_text(errors.decode("utf-8", "backslashreplace").strip())
    if isinstance(result, Cut):
        return Unknown(result.reason)
    if not result.header.started:
        raise Refused(not_started(site, result, said))
    if result.status == 0:
        return None
    reason = f"{site.where}: {argv[4]} cannot be written: {said or f'exit code {result.status}'}"
    return Failed(reason, clean=clean and 21 <= result.status <= 29)


def _fetch(site: Site, action: Download, found: Found, dest: Path) -> str:
    """Read the host's file into a new file beside `dest`, check it, and rename it; "" or what went wrong."""
    call, digest, size, errors = site.call, hashlib.sha256(), 0, bytearray()
    handle, name = tempfile.mkstemp(prefix=".mimrun-", dir=dest.parent)
    with contextlib.ExitStack() as stack:
        stack.callback(Path(name).unlink, missing_ok=True)
        file = stack.enter_context(os.fdopen(handle, "wb"))

        def write(stdout: bytes, stderr: bytes) -> None:
            nonlocal size
            size += len(stdout)
            if size <= action.max_bytes:
                file.write(stdout)
                digest.update(stdout)
            errors.extend(stderr[: max(4096 - len(errors), 0)])

        remote = Remote(["head", "-c", str(action.max_bytes + 1), "--", action.src], become=site.become)
        result = run(site.connection, Task(remote, nonce(), call.deadline, write, stop=call.stop))
        if isinstance(result, Cut):
            return f"{result.reason}; {dest} was not touched"
        if result.status != 0 or not result.header.started:
            said = call.output.masker.mask_text(errors.decode("utf-8", "replace").strip())
            return f"{site.where}: {action.src} cannot be read: {said}; {dest} was not touched"
        if digest.hexdigest() != found.digest:
            return f"{site.where}: {action.src} changed while it was read; {dest} was not touched"
        file.flush()
        os.fsync(file.fileno())
        Path(name).replace(dest)
    return ""


@contextlib.contextmanager
def _source(action: Upload) -> Iterator[Source]:
    """Open what is to be uploaded.

    Raises:
        Refused: it cannot be read, or is not the content that was named.
    """
    with contextlib.ExitStack() as stack:
        try:
            file: io.BytesIO | io.BufferedReader = io.BytesIO((action.content or "").encode())
            if action.src is not None:
                file = Path(action.src).expanduser().open("rb")
            stack.enter_context(file)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            # A file in memory is digested where it lies, and its position does not move.
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
        except OSError as exc:
            raise Refused(f"{action.src}: {exc.strerror or exc}") from exc
        if action.sha256 is not None and digest != action.sha256:
            raise Refused(
                f"{action.src or 'content'}: it is sha256:{digest}, and sha256:{action.sha256} was asked for"
            )
        yield Source(file, digest, size)


def _is_as_wanted(action: Upload, digest: str, found: Found) -> bool:
    return (
        found.kind == "file"
        and found.digest == digest
        and (action.mode is None or int(action.mode, 8) == int(found.mode, 8))
        and action.owner in (None, found.owner)
        and action.group in (None, found.group)
    )


def _require_file(site: Site, path: str, found: Found) -> None:
    if found.kind not in ("file", "absent"):
        raise Refused(f"{site.where}: {path} cannot be written: {_words(found)}")


def _look_first(site: Site, path: str) -> Found:
    """Find out what is at a path before anything is done: whatever goes wrong, nothing has changed."""
    try:
        return look(site, path)
    except LostAnswer as exc:
        raise Refused(f"{site.where}: nothing was done to {path}: {exc}") from exc


def _set_script(action: Upload) -> list[str]:
    return [_SET, "mimrun", action.dest, action.mode or "", _owner(action)]


def _put_script(action: Upload, source: Source, before: Found) -> list[str]:
    """The script that writes the file, with the attributes that were asked for, else those it had."""
    owner, was_there = _owner(action), before.kind == "file"
    kept = f"{before.owner}:{before.group}" if was_there and not owner else ""
    mode = action.mode or (before.mode if was_there else NEW_MODE)
    return [_PUT, "mimrun", action.dest, source.digest, mode, owner, kept, _pending_name(action.dest)]


def _owner(action: Upload) -> str:
    return f"{action.owner or ''}:{action.group}" if action.group else action.owner or ""


def _attributes(action: Upload, found: Found) -> str:
    wanted = {"mode": (action.mode, found.mode.zfill(4)), "owner": (action.owner, found.owner)}
    wanted["group"] = (action.group, found.group)
    return ", ".join(
        f"{key} {old} would become {new}"
        for key, (new, old) in wanted.items()
        if new is not None and new.zfill(4) != old.zfill(4)
    )


def _words(found: Found) -> str:
    return {
        "absent": "there is no such file",
        "nowhere": "there is no such file, and no such folder",
        "folder": "it is a folder",
        "other": "it is neither a file nor a folder",
    }.get(found.kind, f"it is sha256:{found.digest}")


def _unified(path: str, old: bytes, new: bytes) -> str:
    try:
        before, after = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return ""
    return "\n".join(difflib.unified_diff(before, after, f"{path} (now)", f"{path} (then)", lineterm=""))


def _pending_name(path: str) -> str:
    """The beginning of the name of a file that is being uploaded to a path."""
    return f".mimrun-{hashlib.sha256(path.encode()).hexdigest()[:12]}"


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
