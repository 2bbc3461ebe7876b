"""Leases as rows, in a real server, with times so short that a test takes no longer than they do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from builders.log_places import Schema, kill_sessions

from mimrun.errors import LeaseError, StoreError
from mimrun.log.holder import Process, this_process
from mimrun.log.moment import utc_now
from mimrun.log.postgres.lease import RowLease, RowLeases
from mimrun.log.tenure import LeaseTimes

pytestmark = pytest.mark.needs("postgres")

SHORT = LeaseTimes.of(0.9)
STEADY = LeaseTimes(3.0, 0.3, 0.5, 0.5)
"""Renewed so often that a busy machine, on which a thread may wait for a second, loses none."""
HERE = this_process()
ELSEWHERE = replace(HERE, host="host-b", boot="another boot")
"""As a process of another machine has it: nobody here can see whether it runs."""


@contextmanager
def leases(schema: Schema, me: Process = HERE, times: LeaseTimes = SHORT) -> Iterator[RowLeases]:
    with schema.open() as store:
        yield RowLeases(schema.database, store.reader, me, times=times)


def wait_for(check: Callable[[], object], seconds: float = 20) -> float:
    begun = time.monotonic()
    while not check():
        assert time.monotonic() < begun + seconds, "it did not come"
        time.sleep(0.01)
    return time.monotonic() - begun


def test_one_holds_it_and_others_are_told_who(schema: Schema) -> None:
    with leases(schema) as here, leases(schema, ELSEWHERE) as there:
        assert not there.is_held("run-1")
        with here.take("run-1") as lease:
            assert (lease.epoch, lease.held()) == (1, True)
            for other in (here, there):
                with pytest.raises(
                    LeaseError, match=rf"executed by process {os.getpid()} on {HERE.host}; follow"
                ):
                    other.take("run-1")
            assert there.is_held("run-1")
            holder = there.holder_of("run-1")
            assert holder is not None
            assert holder.process == HERE
            with there.take("run-2") as another:
                assert another.held()
        assert not there.is_held("run-1")


def test_it_is_renewed_for_as_long_as_it_is_needed(schema: Schema) -> None:
    with (
        leases(schema, times=STEADY) as here,
        leases(schema, ELSEWHERE) as there,
        here.take("run-1") as lease,
    ):
        end = time.monotonic() + 1.3 * (STEADY.ttl_s + STEADY.grace_s)
        while time.monotonic() < end:
            assert lease.held()
            assert there.is_held("run-1")
            time.sleep(0.05)


def test_the_epoch_only_grows_and_the_log_may_know_a_greater_one(schema: Schema) -> None:
    seen = []
    with leases(schema) as here, leases(schema, ELSEWHERE) as there:
        for number, at_least in enumerate((0, 0, 7, 3)):
            with (here, there)[number % 2].take("run-1", at_least=at_least) as lease:
                seen.append(lease.epoch)
        assert seen == [1, 2, 8, 9]


def test_of_many_that_want_it_at_once_one_gets_it(schema: Schema) -> None:
    def attempt(_: int) -> RowLease | None:
        try:
            return here.take("run-1")
        except LeaseError:
            return None

    with leases(schema, times=LeaseTimes.of(30)) as here, ThreadPoolExecutor(8) as pool:
        taken = [lease for lease in pool.map(attempt, range(16)) if lease is not None]
        assert len(taken) == 1
        taken[0].release()


def test_after_release_it_is_not_held_and_releasing_again_does_nothing(schema: Schema) -> None:
    with leases(schema) as here:
        lease = here.take("run-1")
        lease.release()
        lease.release()
        assert not lease.held()
        assert not here.is_held("run-1")
        assert kill_sessions(schema.server, ["lease"]) == 0


def test_others_learn_what_its_holder_has_seen(schema: Schema) -> None:
    with leases(schema) as here, here.take("run-1") as lease:
        lease.note_seen(17)
        wait_for(lambda: (holder := here.holder_of("run-1")) is not None and holder.seen == 17)


@contextmanager
def child(schema: Schema, me: Process = HERE) -> Iterator[int]:
    """A process that has taken run-1, as a process of this machine or of another one."""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with leases(schema, replace(this_process(), host=me.host, boot=me.boot)) as mine:
                mine.take("run-1")
                os.write(say, b"!")
                signal.pause()
        finally:
            os._exit(0)
    os.close(say)
    try:
        assert os.read(ready, 1) == b"!"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_of_a_process_of_this_machine_that_is_gone_it_is_taken_at_once(schema: Schema) -> None:
    with child(schema), leases(schema) as here:
        assert here.is_held("run-1")
    with leases(schema) as here, here.take("run-1") as lease:
        assert lease.epoch == 2
        # Nobody is left who could be at work.
        assert lease.quarantine(1, utc_now(), 60_000) == 0.0


def test_of_a_process_of_another_machine_it_is_taken_when_it_is_over(schema: Schema) -> None:
    with leases(schema) as here:
        with child(schema, ELSEWHERE):
            time.sleep(0.2)
        killed = time.monotonic()
        with pytest.raises(LeaseError):
            here.take("run-1")
        wait_for(lambda: not here.is_held("run-1"))
        # A renewal at most ttl_s / 3 old is good for ttl_s, and then nobody takes it for ttl_s / 6.
        assert SHORT.ttl_s * (1 + 1 / 6 - 1 / 3) - 0.1 < time.monotonic() - killed
        with here.take("run-1") as lease:
            assert lease.epoch == 2
            begun = utc_now()
            assert 4 < lease.quarantine(1, begun, 5_000) <= 5.1
            assert lease.quarantine(1, begun - timedelta(seconds=10), 5_000) == 0.0
            assert lease.quarantine(2, begun, 5_000) == 0.0  # its own
        # Who comes next is told as well, however the one in between ended.
        with here.take("run-1") as lease:
            assert lease.quarantine(1, begun, 60_000) > 0
            assert lease.quarantine(2, begun, 60_000) == 0.0


def test_a_process_that_does_not_answer_is_named_and_when_it_can_be_replaced(schema: Schema) -> None:
    with leases(schema, times=LeaseTimes(0.3, 0.1, 0.05, 30.0)) as here, child(schema, ELSEWHERE) as pid:
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: "does not answer any more" in _refusal(here))
        assert f"process {pid} on host-b" in _refusal(here)


def _refusal(here: RowLeases) -> str:
    with pytest.raises(LeaseError) as refusal:
        here.take("run-1")
    return str(refusal.value)


def test_a_holder_that_cannot_renew_it_ends_before_anybody_can_take_it(schema: Schema) -> None:
    with leases(schema, ELSEWHERE) as there, leases(schema) as here:
        lease = here.take("run-1")
        schema.execute("alter table lease rename to away")
        wait_for(lambda: not lease.held())
        schema.execute("alter table away rename to lease")
        assert there.is_held("run-1")
        wait_for(lambda: not there.is_held("run-1"))
        with there.take("run-1") as later:
            assert later.epoch == 2
            lease.release()  # it is not its any more
            assert there.is_held("run-1")
            assert not lease.held()


def test_a_connection_that_is_cut_is_made_anew_in_time(schema: Schema) -> None:
    with leases(schema, times=STEADY) as here, here.take("run-1") as lease:
        for _ in range(3):
            wait_for(lambda: kill_sessions(schema.server, ["lease"]) == 1)
        wait_for(lambda: kill_sessions(schema.server, ["lease"]) == 1)
        end = time.monotonic() + STEADY.ttl_s
        while time.monotonic() < end:
            assert lease.held()
            time.sleep(0.05)


def test_a_holder_that_was_replaced_notices_with_its_next_renewal(schema: Schema) -> None:
    with leases(schema, times=LeaseTimes(60, 0.2, 1, 1)) as here:
        lease = here.take("run-1")
        schema.execute("update lease set epoch = 7")
        wait_for(lambda: not lease.held(), 5)
        lease.release()
        assert schema.execute("select held from lease") == [(True,)]


def test_a_server_that_is_away_is_said_so(schema: Schema) -> None:
    with leases(schema) as here:
        away = replace(schema.database, url=schema.database.url.replace(str(schema.server.port), "1"))
        here._database = away
        with pytest.raises(StoreError, match="cannot be asked for a lease"):
            here.take("run-1")
