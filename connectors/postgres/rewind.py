"""pg_rewind: turning an old primary's data folder back to where it can follow the new primary."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from connectors.postgres.actions import Rewind
from connectors.postgres.session import Said, Session
from mimrun.connector import (
    Call,
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

TICK: Final = 0.1
GRACE: Final = 5.0
STALE: Final = """
select (select timeline_id from pg_control_checkpoint())
  <> ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
"""
NOTHING_TO_DO: Final = "no rewind required"


def rewind(session: Session, action: Rewind, call: Call) -> Outcome:
    """Run pg_rewind against the target, which must be a primary."""
    # 1. Everything that can be known beforehand is looked at beforehand: a rewind that breaks off leaves
    #    a data folder that does not start.
    command = _command(session, action)
    _prepare(session, action, call)
    code, dry = _run(session, action, [*command, "--dry-run"], call)
    if code is None:
        return Failed(f"postgres.rewind: the dry run {dry}; nothing was changed", clean=True)
    # 2. After a crash pg_rewind first lets the old server recover; it does not do so in a dry run.
    if code != 0 and "must be shut down cleanly" not in dry:
        return Failed(f"postgres.rewind: the dry run says: {dry}", clean=True)
    if code == 0 and NOTHING_TO_DO in dry and (not action.write_recovery_conf or _follows(session, action)):
        return Ok(changed=False, data=_data(action, dry))
    # 3. The rewind.
    extra = ["--write-recovery-conf"] if action.write_recovery_conf else []
    code, said = _run(session, action, [*command, *extra], call)
    if code is None:
        return Unknown(f"postgres.rewind: {said}; rewind it again, or make it anew from a backup")
    if code != 0:
        return Failed(f"postgres.rewind: exit status {code}: {said}", clean=False, data=_data(action, said))
    return Ok(changed=True, data=_data(action, said))


def probe(session: Session, action: Rewind, call: Call) -> Probed:
    """Say whether the data folder can follow the target. A rewind that broke off cannot be told from none."""
    command = _command(session, action)
    reason = _refused(session, call)
    if reason:
        return Probed(Finding.UNKNOWN, reason)
    code, said = _run(session, action, [*command, "--dry-run"], call)
    if code == 0 and NOTHING_TO_DO in said and (not action.write_recovery_conf or _follows(session, action)):
        return Probed(Finding.APPLIED, said, _data(action, said))
    return Probed(Finding.UNKNOWN, f"pg_rewind --dry-run says: {said}")


def check(session: Session, action: Rewind, call: Call) -> Difference:
    """Say what pg_rewind would do, by its own dry run."""
    command = _command(session, action)
    reason = _refused(session, call)
    if reason:
        return Difference(None, reason)
    code, said = _run(session, action, [*command, "--dry-run"], call)
    if code != 0:
        return Difference(None, f"pg_rewind --dry-run says: {said}")
    follows = not action.write_recovery_conf or _follows(session, action)
    return Difference(NOTHING_TO_DO not in said or not follows, said)


def _command(session: Session, action: Rewind) -> list[str]:
    data = Path(action.data_dir)
    program = shutil.which("pg_rewind", path=action.bin_dir or None)
    if program is None:
        raise Refused(f"postgres.rewind: no pg_rewind in {action.bin_dir or 'PATH'}; give bin_dir")
    try:
        owner = data.stat().st_uid
        is_cluster = (data / "PG_VERSION").exists()
    except OSError as exc:
        raise Refused(f"postgres.rewind: cannot look into {data}: {exc}") from exc
    if not is_cluster:
        raise Refused(
            f"postgres.rewind: {data} is no data folder on this machine; see ssh.command for others"
        )
    if owner == 0:
        raise Refused(f"postgres.rewind: {data} belongs to root, and PostgreSQL never runs as root")
    if os.geteuid() not in (0, owner):
        raise Refused(f"postgres.rewind: {data} belongs to user {owner}; run mimrun as that user or as root")
    if _is_running(data):
        raise Refused(f"postgres.rewind: a server runs in {data}; stop it first")
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - see Session.open

    source = make_conninfo("", **session.parameters())
    return [program, f"--target-pgdata={data}", f"--source-server={source}"]


def _is_running(data: Path) -> bool:
    """Say whether the process named in postmaster.pid works in this folder; the file stays after a crash."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except (OSError, ValueError):
        return False


def _is_in_process_list(data: Path) -> bool:
    """Say whether a dead server waits for its parent to take note; PostgreSQL holds it for a running one."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (OSError, ValueError):
        return False


def _refused(session: Session, call: Call) -> str:
    """Say why the target cannot be followed now; "" when it can.

    pg_rewind believes the target's control file, which names a new timeline only after a checkpoint.
    Without one it may find that nothing needs to be rewound.
    """
    try:
        (recovering,) = session.one("select pg_is_in_recovery()", call)
        if recovering:
            return f"{session.where} is a standby; the target must be the new primary"
        (stale,) = session.one(STALE, call)
        return f"{session.where} has made no checkpoint since its promotion" if stale else ""
    except Said as exc:
        return f"{session.where}: {exc}"
    except LostAnswer as exc:
        raise Unreachable(f"{exc}; nothing was rewound yet") from exc


def _prepare(session: Session, action: Rewind, call: Call) -> None:
    data = Path(action.data_dir)
    until = time.monotonic() + GRACE
    while _is_in_process_list(data) and time.monotonic() < until and not call.stop.wait(TICK):
        pass
    if _is_in_process_list(data):
        raise Refused(f"postgres.rewind: the dead server of {data} is still in the process list; try again")
    try:
        with session.asking(call) as connection:
            connection.execute("checkpoint")
    except (Said, LostAnswer):
        pass  # what it is needed for is looked at next
    session.open()
    reason = _refused(session, call)
    if reason:
        raise Refused(f"postgres.rewind: {reason}")


def _follows(session: Session, action: Rewind) -> bool:
    """Say whether the folder is set up as a standby of the target."""
    data = Path(action.data_dir)
    try:
        lines = (data / "postgresql.auto.conf").read_text().splitlines()
    except OSError:
        return False
    infos = [line for line in lines if line.startswith("primary_conninfo")]
    wanted = (f"host={session.settings.host}", f"port={session.settings.postgres_port}")
    return (data / "standby.signal").exists() and bool(infos) and all(w in infos[-1] for w in wanted)


def _run(session: Session, action: Rewind, argv: Sequence[str], call: Call) -> tuple[int | None, str]:
    """Run pg_rewind as the folder's owner. Give its exit status, None when it was ended, and its words."""
    state = Path(action.data_dir).stat()
    password = session.password()
    root = os.geteuid() == 0
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            **({} if password is None else {"PGPASSWORD": password}),
        },
        cwd="/",
        user=state.st_uid if root else None,
        group=state.st_gid if root else None,
        extra_groups=[] if root else None,
        start_new_session=True,
    )
    said, why = b"", ""
    try:
        while not why:
            try:
                said, _ = child.communicate(timeout=TICK)
                break
            except subprocess.TimeoutExpired:
                why = "was stopped by a person" if call.stop.is_set() else ""
                why = why or ("was not done by its deadline" if call.left() == 0 else "")
    finally:
        if child.returncode is None:
            said = _end(child)
    call.output.feed(stderr=said)
    if why:
        return None, f"{why}; it is proven ended" if _is_gone(child) else f"{why}, and could not be ended"
    words = [line.removeprefix("pg_rewind: ") for line in said.decode(errors="replace").splitlines()]
    return child.returncode, "; ".join(words)[-2000:]


def _end(child: subprocess.Popen[bytes]) -> bytes:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        until = time.monotonic() + GRACE
        with suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=max(until - time.monotonic(), 0))[0]
    return b""


def _is_gone(child: subprocess.Popen[bytes]) -> bool:
    """Say whether nobody lives in the group of a program that was ended. Source: proc(5)."""
    until = time.monotonic() + GRACE / 10
    while alive := child.poll() is None or _has_members(child.pid):
        if time.monotonic() > until:
            break
        time.sleep(TICK / 5)
    return not alive


def _has_members(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in brackets may hold brackets itself: count from the last one.
            state, _, member_of = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(member_of) == group and state not in "ZX":
                return True
    return False


def _data(action: Rewind, said: str) -> dict[str, Json]:
    return {"data_dir": action.data_dir, "rewound": NOTHING_TO_DO not in said, "said": said}
