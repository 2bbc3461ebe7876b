"""PostgreSQL: reading, changing, who is primary, promoting a standby, and rewinding an old primary."""

from __future__ import annotations

from typing import assert_never

from connectors.postgres import applied, ending, replication, rewind, statement
from connectors.postgres.actions import (
    Execute,
    PostgresAction,
    PostgresSettings,
    Promote,
    Query,
    Replication,
    Rewind,
)
from connectors.postgres.session import Said, Session
from mimrun.connector import Call, Connector, Difference, Effect, Failed, Finding, Ok, Outcome, Probed


class Postgres(Connector[PostgresSettings, PostgresAction]):
    """One PostgreSQL server, spoken to over one connection."""

    name = "postgres"
    settings_type = PostgresSettings
    actions = (Query, Execute, Promote, Replication, Rewind)

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self._session = Session(settings)
        self._call: Call | None = None

    def perform(self, action: PostgresAction, call: Call) -> Outcome:
        """Do the action once; connecting counts against the call's deadline, and a stop ends it."""
        self._call = call
        return super().perform(action, call)

    def probe(self, action: PostgresAction, call: Call) -> Probed:
        """Find out whether the action has happened; connecting counts against the call's deadline."""
        self._call = call
        return super().probe(action, call)

    def check(self, action: PostgresAction, call: Call) -> Difference:
        """Find out what the action would change; connecting counts against the call's deadline."""
        self._call = call
        return super().check(action, call)

    def open(self) -> None:
        """Connect and log in, unless a live connection is there."""
        self._session.open(self._call)

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()

    def _perform(self, action: PostgresAction, call: Call) -> Outcome:
        if call.stop.is_set() or call.left() == 0:
            return Failed("postgres: called off before anything was asked", clean=True)
        match action:
            case Query():
                return statement.query(self._session, action, call)
            case Execute():
                return statement.execute(self._session, action, call)
            case Promote():
                return replication.promote(self._session, action, call)
            case Replication():
                return self._replication(call)
            case Rewind():
                return rewind.rewind(self._session, action, call)
            case _:
                assert_never(action)

    def _replication(self, call: Call) -> Outcome:
        try:
            return Ok(changed=False, data=replication.standing(self._session, call))
        except Said as exc:
            return Failed(f"postgres: {exc}", clean=True, data=exc.data)

    def _probe(self, action: PostgresAction, call: Call) -> Probed:
        match action:
            case Promote():
                return replication.probe(self._session, call)
            case Rewind():
                return rewind.probe(self._session, action, call)
            case Query() | Replication():
                return Probed(Finding.NOT_APPLIED, "reading leaves nothing behind")
            case Execute():
                if action.applied_table:
                    return applied.probe(self._session, action, call)
                return Probed(
                    Finding.UNKNOWN, "nothing tells whether a statement was committed: no applied_table"
                )
            case _:
                assert_never(action)

    def end(self, action: PostgresAction, call: Call) -> str:
        """End what the server still does for an attempt; connecting counts against the call's deadline."""
        self._call = call
        return super().end(action, call)

    def _end(self, action: PostgresAction, call: Call) -> str:
        return ending.end(self._session, call)

    def _check(self, action: PostgresAction, call: Call) -> Difference:
        if action.effect is Effect.READ:
            return Difference(changes=False, detail="reading changes nothing")
        if isinstance(action, Promote):
            return replication.check(self._session, call)
        if isinstance(action, Rewind):
            return rewind.check(self._session, action, call)
        assert isinstance(action, Execute)
        return statement.check(self._session, action, call)
