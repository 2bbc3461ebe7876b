"""Who is primary and who follows: reading it, and changing it by a promotion."""

from __future__ import annotations

import time
from typing import Final

from connectors.postgres import values
from connectors.postgres.actions import Promote
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

PAUSE: Final = 0.05
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks of a probe: longer than the server needs from a request file to its flag."""
PRIVILEGE: Final = "42501"

# On a standby without its primary no receiver runs; then the control file knows the timeline, as of the
# last restart point or of the log that was replayed, whichever is later.
STANDING: Final = """
select pg_is_in_recovery(),
  case when pg_is_in_recovery() then
    coalesce((select received_tli from pg_stat_wal_receiver),
             (select greatest(c.timeline_id, r.min_recovery_end_timeline)
                from pg_control_checkpoint() c, pg_control_recovery() r))
  else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  case when not pg_is_in_recovery() then pg_current_wal_lsn() end,
  pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),
  case when pg_is_in_recovery() and pg_last_wal_receive_lsn() is not null
    then greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0) end,
  to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  case when pg_is_in_recovery() then pg_is_wal_replay_paused() end,
  (select system_identifier::text from pg_control_system())
"""
NAMES: Final = (
    "in_recovery", "timeline", "current_lsn", "received_lsn", "replayed_lsn", "lag_bytes", "replayed_at",
    "replay_paused", "system_identifier",
)  # fmt: skip
SOURCE: Final = """
select sender_host as host, sender_port as port, status, latest_end_lsn::text as latest_lsn, slot_name as slot
from pg_stat_wal_receiver
"""
REPLICAS: Final = """
select application_name as name, client_addr::text as address, state, sync_state,
  sent_lsn::text, flush_lsn::text, replay_lsn::text,
  pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                  replay_lsn) as lag_bytes,
  (extract(epoch from replay_lag) * 1000)::bigint as lag_ms
from pg_stat_replication order by application_name, pid
"""
IN_FLIGHT: Final = """
select count(*) from pg_stat_activity
where pid <> pg_backend_pid() and state = 'active' and query ilike '%pg_promote%'
"""
REQUESTED: Final = "select (pg_stat_file('promote', true)).modification is not null"
# Both do nothing in the state they are called in, and both say no once a promotion has been asked for.
TRIGGERED: Final = (
    "select case when pg_is_wal_replay_paused() then pg_wal_replay_pause() else pg_wal_replay_resume() end"
)


def standing(session: Session, call: Call) -> dict[str, Json]:
    """Give a server's part in replication, the same fields for a primary and a standby."""
    with session.asking(call) as connection:
        connection.execute(f"begin read only; {session.bounds(call)}")
        row = connection.execute(STANDING).fetchone()
        assert row is not None
        source = connection.execute(SOURCE)
        sources, _ = values.rows([c.name for c in source.description or ()], source, 1)
        replica = connection.execute(REPLICAS)
        replicas, _ = values.rows([c.name for c in replica.description or ()], replica, 100)
        connection.execute("rollback")
    found = {name: values.plain(value) for name, value in zip(NAMES, row, strict=True)}
    role = "standby" if found["in_recovery"] else "primary"
    return {"role": role, **found, "source": sources[0] if sources else None, "replicas": replicas}


def promote(session: Session, action: Promote, call: Call) -> Outcome:
    """Promote a standby, and wait until it takes writes."""
    before = _before(session, call)
    if isinstance(before, Failed):
        return before
    if before["role"] == "primary":
        return Ok(changed=False, data=before)
    if call.stop.is_set():
        return Failed("postgres: stopped by a person; no promotion was asked for yet", clean=True)
    try:
        # Not waited for here: a wait that is cut off on the server would not take the request back.
        session.one("select pg_promote(false)", call)
    except Said as exc:
        if exc.sqlstate == PRIVILEGE:
            raise Refused(f"postgres: {session.where}: {exc}; grant execute on pg_promote") from exc
        return Unknown(f"postgres: {session.where}: the promotion was answered with: {exc}", exc.data)
    return _await_writes(session, action, call)


def _before(session: Session, call: Call) -> dict[str, Json] | Failed:
    """Look before anything is asked for, so that no failure here leaves a doubt."""
    try:
        return standing(session, call)
    except Said as exc:
        return Failed(f"postgres: {session.where}: {exc}", clean=True, data=exc.data)
    except LostAnswer as exc:
        raise Unreachable(f"{exc}; no promotion was asked for yet") from exc


def _await_writes(session: Session, action: Promote, call: Call) -> Outcome:
    end = time.monotonic() + action.timeout
    while True:
        # Not transaction_read_only: that is settled when a transaction begins, and stays "on" in the one of
        # this very look when recovery ends after its beginning.
        try:
            recovering, read_only = session.one(
                "select pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'", call
            )
        except Said as exc:
            return Unknown(f"postgres: {session.where}: the promotion was asked for; then: {exc}", exc.data)
        if not recovering and not read_only:
            try:
                return Ok(changed=True, data=standing(session, call))
            except Said as exc:
                raise LostAnswer(
                    f"postgres: {session.where} is promoted; its state is not known: {exc}"
                ) from exc
        if not recovering:
            reason = f"postgres: {session.where} is promoted, but sessions are read-only by its settings"
            return Failed(reason, clean=False)
        if time.monotonic() >= end or call.left() < PAUSE or call.stop.wait(PAUSE):
            why = "stopped by a person: " if call.stop.is_set() else ""
            asked = "the promotion was asked for, cannot be taken back, and has not come to its end"
            return Unknown(f"postgres: {session.where}: {why}{asked}")


def probe(session: Session, call: Call) -> Probed:
    """Find out whether a server is promoted, surely is not, or may be about to be."""
    for look in range(2):
        # In the order in which a request travels, so that one on its way is met at some point.
        (in_flight,) = session.one(IN_FLIGHT, call)
        if in_flight:
            return Probed(Finding.UNKNOWN, "a session is asking for a promotion right now")
        try:
            (requested,) = session.one(REQUESTED, call)
            if requested:
                return Probed(Finding.UNKNOWN, "a promotion has been asked for and not begun")
            session.one(TRIGGERED, call)
        except Said as exc:
            (recovering,) = session.one("select pg_is_in_recovery()", call)
            if recovering:
                return Probed(Finding.UNKNOWN, f"still in recovery, and a promotion may be on its way: {exc}")
        state = standing(session, call)
        if state["role"] == "primary":
            return Probed(Finding.APPLIED, "it is not in recovery", state)
        if look == 0:
            call.stop.wait(LOOK_AGAIN)
    return Probed(Finding.NOT_APPLIED, "still in recovery, and no promotion is on its way", state)


def check(session: Session, call: Call) -> Difference:
    """Say what a promotion would change."""
    state = standing(session, call)
    if state["role"] == "primary":
        return Difference(changes=False, detail=f"primary already, on timeline {state['timeline']}")
    detail = (
        f"would promote a standby on timeline {state['timeline']} that has replayed {state['replayed_lsn']}"
    )
    return Difference(changes=True, detail=f"{detail}, {state['lag_bytes']} bytes received and not replayed")
