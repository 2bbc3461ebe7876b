"""One file that shall hold exactly this content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from connectors.local.actions import Copy
from mimrun.connector import Call, Json, Ok, Outcome, Refused


def copied(action: Copy, wanted: bytes) -> Mapping[str, Json]:
    """Give what `local.copy` answers with."""
    return {"dest": action.dest, "sha256": hashlib.sha256(wanted).hexdigest(), "size": len(wanted)}


def difference(action: Copy, wanted: bytes) -> str:
    """Say in words what is not as wanted; "" when all is.

    Raises:
        Refused: the file is there and cannot be read, or there is no folder for it.
    """
    path = Path(action.dest)
    if not path.resolve().parent.is_dir():
        raise Refused(f"local.copy: there is no folder for {action.dest}")
    try:
        there, mode = path.read_bytes(), path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return f"would create {action.dest}: {_said(wanted, int(action.mode or '0644', 8))}"
    except OSError as exc:
        raise Refused(f"local.copy: cannot read {action.dest}: {exc}") from exc
    then = mode if action.mode is None else int(action.mode, 8)
    if there == wanted and then == mode:
        return ""
    what = "replace" if there != wanted else "change the mode of"
    return f"would {what} {action.dest}: {_said(there, mode)} -> {_said(wanted, then)}"


def _said(content: bytes, mode: int) -> str:
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}, {mode:04o}"


def copy(action: Copy, call: Call) -> Outcome:
    """Make the file as wanted.

    Raises:
        Refused: it cannot be; it is as it was.
    """
    if call.become is not None or call.environment:
        raise Refused("local.copy writes as the user that runs mimrun; take become and environment away")
    wanted = action.read()
    if not difference(action, wanted):
        return Ok(changed=False, data=copied(action, wanted))
    target = Path(action.dest).resolve()  # a link stays one; what it points to is replaced
    try:
        old = target.stat() if target.exists() else None
        mode = int(action.mode, 8) if action.mode else (old.st_mode & 0o7777 if old else 0o644)
        fd, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as exc:
        raise Refused(f"local.copy: cannot write beside {target}: {exc}") from exc
    try:
        # 1. Whole and on the disk under another name, 2. then in its place in one step.
        with os.fdopen(fd, "wb") as file:
            file.write(wanted)
            if old is not None and os.geteuid() == 0:
                os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, mode)
            file.flush()
            os.fsync(fd)
        Path(fresh).replace(target)
    except OSError as exc:
        Path(fresh).unlink(missing_ok=True)
        raise Refused(f"local.copy: {target} is left as it was: {exc}") from exc
    return Ok(changed=True, data=copied(action, wanted))
