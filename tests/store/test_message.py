"""Messages of several statements: what the server says to each, errors, and sizes beyond any buffer."""

from __future__ import annotations

from collections.abc import Generator

import psycopg
import pytest
from builders.log_places import Schema, kill_sessions

from mimrun.log.postgres.message import Messages, Statement, contents, number, numbers, text, texts

pytestmark = pytest.mark.needs("postgres")

NOTE = Statement("note", "insert into note values ($1::int8, $2::text)", (number(1), text("x")))
FAULT = Statement("fault", "select 1 / $1::int8", (number(0),))
UNREADABLE = Statement("unreadable", "select from where")


@pytest.fixture
def db(schema: Schema) -> Generator[psycopg.Connection]:
    with schema.database.connect("test") as db:
        db.execute("create temp table note (id int8, text text)")
        yield db


@pytest.fixture
def messages(db: psycopg.Connection) -> Messages:
    return Messages(db)


def notes(db: psycopg.Connection) -> list[tuple[int, str]]:
    return db.execute("select id, text from note order by id").fetchall()


def test_each_statement_gets_its_answer_in_order(db: psycopg.Connection, messages: Messages) -> None:
    two = NOTE._replace(values=(number(-(2**63)), text("é€𝄞")))
    for _ in range(3):
        begin, commit = Statement("", "begin"), Statement("", "commit")
        assert messages.send([begin, NOTE, two, Statement("", "select 1"), commit]) == [
            "BEGIN",
            "INSERT 0 1",
            "INSERT 0 1",
            "SELECT 1",
            "COMMIT",
        ]
    assert notes(db) == [(-(2**63), "é€𝄞")] * 3 + [(1, "x")] * 3
    assert db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(FAULT, psycopg.errors.DivisionByZero), (UNREADABLE, psycopg.errors.SyntaxError)],
    ids=["executed", "learned"],
)
def test_behind_the_first_error_nothing_is_done(
    db: psycopg.Connection, messages: Messages, wrong: Statement, error: type[psycopg.Error]
) -> None:
    for _ in range(2):
        db.execute("begin")
        first, failed, *rest = messages.send([NOTE, wrong, wrong, NOTE, Statement("", "commit")])
        assert first == "INSERT 0 1"
        assert isinstance(failed, error)
        assert rest == [None, None, None]
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        db.execute("rollback")
    assert messages.send([NOTE]) == ["INSERT 0 1"]
    assert notes(db) == [(1, "x")]


def test_what_is_longer_than_every_buffer_arrives(db: psycopg.Connection, messages: Messages) -> None:
    db.execute("create temp table thing (seq int8, name text, data bytea)")
    blob = bytes(range(256)) * 4096 * 8
    things = Statement(
        "things",
        "insert into thing select * from unnest($1::int8[], $2::text[], $3::bytea[])",
        (numbers([7, 8, 9]), texts(["", "a'\\,{}\"", "null"]), contents([blob, b"", blob[::-1]])),
    )
    echo = Statement("echo", "select $1::bytea, $1::bytea", (blob,))
    assert messages.send([things, echo, things._replace(values=(numbers([]), texts([]), contents([])))]) == [
        "INSERT 0 3",
        "SELECT 1",
        "INSERT 0 0",
    ]
    found = db.execute("select seq, name, data from thing order by seq", binary=True).fetchall()
    assert found == [(7, "", blob), (8, "a'\\,{}\"", b""), (9, "null", blob[::-1])]


def test_a_script_gives_the_rows_of_its_last_statement_or_the_first_error(
    db: psycopg.Connection, messages: Messages
) -> None:
    assert messages.ask("select 1, 2; select 3, null::text union all select 4, 'x' order by 1") == [
        [b"3", b""],
        [b"4", b"x"],
    ]
    with pytest.raises(psycopg.errors.DivisionByZero):
        messages.ask("begin; select 1/0; select 5")
    assert db.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    db.execute("rollback")
    assert messages.ask("select 6") == [[b"6"]]


@pytest.mark.parametrize("way", ["message", "script"])
def test_a_connection_that_is_gone_is_said_to_be(schema: Schema, way: str) -> None:
    with schema.database.connect("doomed") as db:
        messages = Messages(db)

        def say() -> None:
            if way == "script":
                messages.ask("select 1")
            for answer in messages.send([Statement("one", "select 1")] * 2):
                if isinstance(answer, psycopg.Error):
                    raise answer

        say()
        assert kill_sessions(schema.server, ["doomed"]) == 1
        with pytest.raises(psycopg.Error):
            say()
        assert db.closed
