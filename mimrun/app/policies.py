"""The policy in force: read anew when its file has changed, and what it means for a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mimrun.errors import RefusedError, SettingsError
from mimrun.gate.calendar_file import calendar_files
from mimrun.gate.policy import Policy
from mimrun.gate.policy_file import load_policy
from mimrun.settings import Settings


def asks_at_launch(settings: Settings) -> bool:
    """Say whether plans that change something get a gate in front: where there is a policy, or a calendar.

    A file that cannot be read counts: the gate is there, and stays closed.
    """
    if settings.policy.exists() or settings.policy.is_symlink():
        return True
    try:
        return bool(calendar_files(settings.calendars))
    except OSError:
        return True


def policy_reader(path: Path) -> Callable[[], Policy | None]:
    """Give a function that reads the policy again whenever its file has changed; None where there is none.

    The function raises `RefusedError` where the file cannot be read: then nobody can say what is asked for.
    """
    known: tuple[tuple[int, int, int] | None, Policy | None] = (None, None)

    def read() -> Policy | None:
        nonlocal known
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except FileNotFoundError:
            mark = None
        if mark is None or mark != known[0]:
            try:
                known = (mark, load_policy(path))
            except SettingsError as exc:
                # Not the run's failure: it stops where it is, and goes on when the file is mended.
                raise RefusedError(f"nobody can say what the policy asks for: {exc}") from exc
        return known[1]

    return read


def rules_or_default(settings: Settings) -> Policy:
    """Give the policy in force; mimrun's own default where there is none.

    Raises:
        SettingsError: it cannot be read.
    """
    return load_policy(settings.policy) or Policy()
