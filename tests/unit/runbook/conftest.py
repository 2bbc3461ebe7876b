"""A small catalog for planning: real action models, of connectors that nothing here connects with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import Action, AnyConnector, Call, Connector, Effect, Field, Ok, Outcome, Settings


class Command(Action):
    """Run a program."""

    verb = "command"
    effect = Effect.ONCE
    argv: tuple[str, ...] = Field(min_length=1, description="The program and its arguments.")
    chdir: str = Field("", description="The folder to run in.")
    changed: bool = Field(default=True, description="False for a command that only looks.")


class Shell(Action):
    """Run a line of shell."""

    verb = "shell"
    effect = Effect.ONCE
    cmd: str = Field(description="Shell text.")


class Query(Action):
    """Ask a database."""

    verb = "query"
    effect = Effect.READ
    sql: str = Field(description="A statement.")
    params: tuple[JsonValue, ...] = Field((), description="Values for the statement.")


class Promote(Action):
    """Make a standby the primary."""

    verb = "promote"
    effect = Effect.PROBE
    wait_s: int = Field(60, ge=1, le=600, description="How long to wait.")
    password: str = Field("", description="The password.")


class Port(Action):
    """Wait for a port."""

    verb = "port"
    effect = Effect.READ
    port: int = Field(ge=1, le=65535, description="The port.")


class _Planned(Connector[Settings, Action]):
    settings_type = Settings

    def open(self) -> None:
        """Nothing is opened: these are planned and never done."""

    def close(self) -> None:
        """Nothing was opened."""

    def _perform(self, action: Action, call: Call) -> Outcome:
        return Ok(changed=False)


class Ssh(_Planned):
    name = "ssh"
    actions = (Command, Shell)
    keywords = frozenset({"become", "environment"})


class Postgres(_Planned):
    name = "postgres"
    actions = (Query, Promote)


class Wait(_Planned):
    name = "wait"
    actions: ClassVar[tuple[type[Action], ...]] = (Port,)


@pytest.fixture
def catalog() -> Catalog:
    connectors: Mapping[str, type[AnyConnector]] = {"ssh": Ssh, "postgres": Postgres, "wait": Wait}
    return Catalog(connectors)


VERSIONS = {"ssh": "1.0", "postgres": "1.1", "wait": "1.2"}


@pytest.fixture
def versions() -> Mapping[str, str]:
    return VERSIONS
