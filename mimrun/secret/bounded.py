"""Patience with an end: a store that does not answer must not hold up a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Ask something that may hang: a name server, a server that answers a byte a minute, a prompt.

    Arguments:
        seconds: after this it is left alone, in a thread that ends with the process.

    Raises:
        TimeoutError: it has not answered.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
            errors.append(exc)

    thread = threading.Thread(target=run, name="secret", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError
    return answers[0]
