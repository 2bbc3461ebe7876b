"""Prefect's SQLite database without the errors that delay the next run.

Prefect opens its writing transactions for reading first. While task runs are being recorded, such a
transaction finds that another one has written in between, SQLite does not let it wait, and the API
answers 503: the next run begins two seconds late or more. Opened for writing at once, it waits its turn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES


class PatientSqlite(AioSqliteConfiguration):
    """SQLite as Prefect configures it, except that a transaction is opened for writing at once."""

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: Any,  # SQLAlchemy's, which is Prefect's to ask for
        with_for_update: bool = False,  # noqa: FBT001, FBT002 - the signature is Prefect's
    ) -> AsyncGenerator[Any, None]:
        """Begin a transaction with BEGIN IMMEDIATE, whatever was asked for."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def use_patient_sqlite(url: str) -> None:
    """Have Prefect's server in this process use it.

    Arguments:
        url: the database's address, `sqlite+aiosqlite:///...`.
    """
    MODELS_DEPENDENCIES["database_config"] = PatientSqlite(connection_url=url)
