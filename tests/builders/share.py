"""Long work shared out to a process for each core."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

CORES = os.cpu_count() or 1
PERCENT = int(os.environ.get("HEAVY_PERCENT", "10"))


def of_heavy(figure: int) -> int:
    """Give the part of a figure that the heavy tests work through: a tenth, or HEAVY_PERCENT of it."""
    return max(figure * PERCENT // 100, CORES)


def shared(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Do work on each part in a process of its own, all at once.

    Raises:
        AssertionError: the first thing that went wrong in one of them, as it was told there.
    """
    children = [_begin(work, part) for part in parts]
    answers: list[R] = []
    wrong = ""
    for child, reader in children:
        with open(reader, "rb") as told:  # noqa: PTH123 - a file that is open
            data = told.read()
        os.waitpid(child, 0)
        said, answer = pickle.loads(data) if data else ("a process died", None)
        wrong = wrong or said
        if not said:
            answers.append(answer)  # type: ignore[arg-type]  # what the child's work gave
    assert not wrong, wrong
    return answers


def _begin(work: Callable[[T], R], part: T) -> tuple[int, int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    os.close(reader)
    try:
        try:
            said = ("", work(part))
        except BaseException as exc:  # noqa: BLE001 - the parent tells it
            sys.excepthook(*sys.exc_info())
            said = ("\n".join([f"{type(exc).__name__}: {exc}", *getattr(exc, "__notes__", ())]), None)  # type: ignore[assignment]
        with open(writer, "wb") as told:  # noqa: PTH123 - likewise
            pickle.dump(said, told)
    finally:
        os._exit(0)
