from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from builders.plans import a_plan, action

from mimrun.app.launching import Launched, hand_over, stays_here
from mimrun.errors import RunError


class Waking:
    """A launcher whose engine is ready after some looks; what Prefect does is not asked here."""

    def __init__(self, after: int, *, takes: bool = True, breaks: bool = False) -> None:
        self.looks, self.after, self.takes, self.breaks = 0, after, takes, breaks
        self.submitted: list[str] = []

    def ready(self) -> bool:
        if self.breaks:
            raise RunError("the socket is gone")
        self.looks += 1
        return self.looks > self.after

    def submit(self, run: str) -> bool:
        self.submitted.append(run)
        return self.takes

    def lay_template(self) -> bool: ...
    def wake(self, idle_exit_s: int | None) -> None: ...
    def up(self, wait_s: float): ...
    def down(self) -> bool: ...
    def status(self): ...


def seconds() -> Iterator[float]:
    """A clock that goes a second further with each look."""
    return map(float, count())


def hand(launcher: Waking | None, patience_ms: int = 5000, *, direct: bool = False) -> Launched:
    clock = seconds()
    return hand_over(launcher, "run-1", direct=direct, patience_ms=patience_ms, monotonic=lambda: next(clock))


def test_a_ready_engine_takes_the_run() -> None:
    assert hand(Waking(0)) == Launched("prefect")
    assert hand(Waking(3)) == Launched("prefect")


def test_patience_has_an_end_and_the_log_says_so() -> None:
    launched = hand(Waking(1000))
    assert launched == Launched("direct", "Prefect was not ready 5 s after the go")


def test_without_patience_an_engine_that_is_not_up_is_not_waited_for() -> None:
    launcher = Waking(1000)
    assert hand(launcher, 0).mode == "direct"
    assert launcher.looks == 1
    assert hand(Waking(0), 0) == Launched("prefect")


def test_a_wish_for_direct_asks_nobody() -> None:
    launcher = Waking(0)
    assert hand(launcher, direct=True) == Launched("direct", "asked for with --direct")
    assert launcher.looks == 0


def test_an_engine_that_breaks_or_refuses_stops_no_run() -> None:
    assert hand(Waking(0, breaks=True)) == Launched("direct", "Prefect is not to be had: the socket is gone")
    assert hand(Waking(0, takes=False)).mode == "direct"
    assert hand(None) == Launched("direct", "no launcher is installed")


def test_a_run_whose_secret_is_in_this_environment_stays_here() -> None:
    def plan(**inputs):
        return a_plan(Path("/w"), action("1"), inputs=inputs)

    for reference in ("env:TOKEN", "vault:secret/portal#token", "keyring:portal/mimrun"):
        assert stays_here(plan(token={"secret": reference})).startswith(
            "the secret token is read with the environment"
        )
    assert stays_here(plan(token={"secret": "file:/run/token"}, other="env:TOKEN")) == ""
