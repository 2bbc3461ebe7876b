"""Documents: the strict YAML reader of runbooks, inventories and settings files.

A document is read from the parser's events with a stack of our own, and never by recursion: an alias
cannot multiply, a cycle cannot be built and a deep file cannot overflow. Every value keeps its place in
the file, so that each later complaint can name line and column.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import yaml

from mimrun.canonical import Json
from mimrun.errors import InputError, Problem, RunbookError
from mimrun.runbook.scalar import Ambiguous, Scalar, Schema, read_scalar
from mimrun.runbook.syntax import HIDDEN, MAX_BYTES, Stop, decode, read_events

ValuePath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: `("steps", 2, "ssh.command", "argv", 0)`; `()` is the whole document."""

Mark: TypeAlias = tuple[int, int]
"""Line and column, both 1-based."""

MAX_DEPTH: Final = 32
MAX_NODES: Final = 50_000
MAX_PROBLEMS: Final = 50


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content and where each part of it stands.

    Arguments:
        file: the path as the person gave it.
        value: plain JSON: None, bool, int, str, list, dict (and float in inventories).
        marks: where each value begins.
        keys: where the key of each value begins, by the path of the value.
    """

    file: str
    value: Json
    marks: Mapping[ValuePath, Mark]
    keys: Mapping[ValuePath, Mark]

    def mark(self, path: ValuePath) -> Mark:
        """Give the place of a value, or of the nearest one above it that is in the file."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (1, 1))

    def key_mark(self, path: ValuePath) -> Mark:
        """Give the place of a value's key, or the value's own place where it has no key."""
        return self.keys.get(path) or self.mark(path)

    def problem(self, path: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Make the complaint about a value.

        Arguments:
            path: the value that is meant.
            message: what is wrong, in lower case.
            hint: what would be right.
            at_key: the key is wrong and not the value.
        """
        line, column = self.key_mark(path) if at_key else self.mark(path)
        return Problem(self.file, line, column, message, hint)


def load_document(
    path: Path, *, error: type[InputError] = RunbookError, schema: Schema = Schema.CORE
) -> Document:
    """Read a YAML file from disk.

    Arguments:
        path: a regular file; a device or a pipe is refused.
        error: what to raise.
        schema: how plain words are read.

    Raises:
        InputError: of the given class, with every problem that was found.
    """
    return read_document(read_bytes(path, error=error), str(path), error=error, schema=schema)


def read_bytes(path: Path, *, error: type[InputError] = RunbookError) -> bytes:
    """Give the content of a regular file, at most one byte more than a document may have.

    Raises:
        InputError: of the given class: the file cannot be read, or is not a regular file.
    """
    try:
        # Without O_NONBLOCK a pipe without a writer would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            os.close(descriptor)  # whoever looks again and again must not run out of them
            what = "cannot be read: Is a directory" if stat.S_ISDIR(kind) else "is not a regular file"
            raise error(problems=[Problem(str(path), 0, 0, what)])
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise error(problems=[Problem(str(path), 0, 0, f"cannot be read: {exc.strerror}")]) from exc
    except ValueError as exc:  # a NUL in the name
        raise error(problems=[Problem(repr(str(path)), 0, 0, "is not a file name")]) from exc


def read_document(
    source: bytes | str,
    file: str,
    *,
    error: type[InputError] = RunbookError,
    schema: Schema = Schema.CORE,
) -> Document:
    """Read YAML text strictly.

    Arguments:
        source: the content of the file, UTF-8 when bytes.
        file: the path as the person gave it, for messages.
        error: what to raise.
        schema: how plain words are read.

    Returns:
        the document; an empty one has the value None.

    Raises:
        InputError: of the given class, with every problem that was found, each with line and column.
    """
    reader = _Reader(file, schema)
    try:
        text = decode(source, file)
        reader.read(text)
    except Stop as stop:
        reader.problems.append(stop.problem)
    if reader.problems:
        raise error(problems=reader.problems[:MAX_PROBLEMS])
    return Document(file, reader.root, reader.marks, reader.keys)


_NO_KEY: Final = object()
_BAD_KEY: Final = object()


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being filled.

    `key` is `_NO_KEY` while a mapping waits for its next key, `_BAD_KEY` when the key was refused and its
    value is read for its problems alone.
    """

    path: ValuePath
    items: list[Json] | None
    pairs: dict[str, Json] | None
    key: object = _NO_KEY
    is_key: bool = False
    lost: bool = False


@dataclass(slots=True)
class _Reader:
    """Turns parser events into values, marks and problems."""

    file: str
    schema: Schema
    root: Json = None
    marks: dict[ValuePath, Mark] = field(default_factory=dict)
    keys: dict[ValuePath, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _frames: list[_Frame] = field(default_factory=list)
    _nodes: int = 0
    _documents: int = 0

    def read(self, text: str) -> None:
        """Read a whole text; raises `Stop` where reading cannot go on."""
        for event, mark in read_events(text, self.file):
            match event:
                case yaml.ScalarEvent():
                    self._count(mark)
                    self._scalar(event, mark)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._count(mark)
                    self._open(event, mark)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close()
                case yaml.AliasEvent():
                    self._count(mark)
                    self._complain(mark, f"alias *{event.anchor} is not read here", "write the value out")
                    self._put(None, mark, str(event.anchor))
                case yaml.DocumentStartEvent():
                    self._start_document(event, mark)

    def _start_document(self, event: yaml.DocumentStartEvent, mark: Mark) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._stop(mark, "a second document begins here", "keep one document in a file")
        if event.version or event.tags:
            self._complain(
                mark, "directives (%YAML, %TAG) are not read here", "remove the lines that begin with %"
            )

    def _count(self, mark: Mark) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._stop(mark, f"has more than {MAX_NODES} values", "split the file")
        if len(self.problems) >= MAX_PROBLEMS:
            raise self._stop(mark, f"more than {MAX_PROBLEMS} problems; the rest is not listed", "")

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> None:
        self._check_markers(event, mark)
        text = event.value
        quoted = bool(event.style) or not event.implicit[0]
        hidden = HIDDEN.search(text) if event.style == '"' else None
        if hidden:
            self._complain(mark, f"has the invisible character U+{ord(hidden[0]):04X}", "remove the escape")
        value: Scalar = text
        if not quoted:
            try:
                value = read_scalar(text, self.schema)
            except Ambiguous as exc:
                self._complain(mark, str(exc), exc.hint)
                value = text
        self._put(value, mark, text, quoted=quoted)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, mark: Mark) -> None:
        self._check_markers(event, mark)
        if len(self._frames) >= MAX_DEPTH:
            raise self._stop(mark, f"is nested deeper than {MAX_DEPTH}", "flatten it")
        parent = self._frames[-1] if self._frames else None
        is_key = parent is not None and parent.pairs is not None and parent.key is _NO_KEY
        if is_key:
            self._complain(mark, "a key must be text", 'a template goes in quotes: "{{ … }}"')
        lost = parent is not None and (parent.lost or is_key or parent.key is _BAD_KEY)
        path = self._next_path(parent)
        if not lost:
            self.marks[path] = mark
        mapping = isinstance(event, yaml.MappingStartEvent)
        frame = _Frame(path, None if mapping else [], {} if mapping else None, is_key=is_key, lost=lost)
        self._frames.append(frame)

    def _close(self) -> None:
        frame = self._frames.pop()
        value: Json = frame.items if frame.items is not None else frame.pairs
        if not self._frames:
            self.root = value
            return
        parent = self._frames[-1]
        if frame.is_key:
            parent.key = _BAD_KEY
        else:
            self._store(parent, value)

    def _put(self, value: Scalar, mark: Mark, text: str, *, quoted: bool = False) -> None:
        if not self._frames:
            self.root = value
            self.marks[()] = mark
            return
        frame = self._frames[-1]
        if frame.pairs is not None and frame.key is _NO_KEY:
            frame.key = self._read_key(frame, value, mark, text, quoted=quoted)
            return
        if not frame.lost and frame.key is not _BAD_KEY:
            self.marks[self._next_path(frame)] = mark
        self._store(frame, value)

    def _read_key(self, frame: _Frame, value: Scalar, mark: Mark, text: str, *, quoted: bool) -> object:
        if text == "<<" and not quoted:
            self._complain(mark, "merge keys (<<) are not read here", "write the keys out")
            return _BAD_KEY
        if not isinstance(value, str):
            if self.schema is Schema.CORE:
                self._complain(
                    mark, f"a key must be text and {text or 'an empty key'} is not", f'write "{text}"'
                )
                return _BAD_KEY
            value = _json_key(value)
        assert frame.pairs is not None
        if value in frame.pairs:
            line, _ = self.keys.get((*frame.path, value), mark)
            self._complain(mark, f"the key {value!r} is here twice", f"the first is on line {line}")
            return _BAD_KEY
        if not frame.lost:
            self.keys[(*frame.path, value)] = mark
        return value

    def _store(self, frame: _Frame, value: Json) -> None:
        if frame.items is not None:
            frame.items.append(value)
        elif frame.pairs is not None:
            if isinstance(frame.key, str):
                frame.pairs[frame.key] = value
            frame.key = _NO_KEY

    def _next_path(self, frame: _Frame | None) -> ValuePath:
        if frame is None:
            return ()
        if frame.items is not None:
            return (*frame.path, len(frame.items))
        return (*frame.path, frame.key) if isinstance(frame.key, str) else frame.path

    def _check_markers(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent, mark: Mark
    ) -> None:
        if event.anchor:
            self._complain(
                mark, f"anchor &{event.anchor} is not read here", "write the value where it is needed"
            )
        if event.tag == "!vault":
            hint = "name the secret instead (env:NAME, file:PATH, keyring:… or vault:…), or decrypt the value into a file of its own"
            self._complain(
                mark, "!vault: mimrun holds no vault passwords and cannot decrypt this value", hint
            )
        elif event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._complain(mark, f"the tag {tag} is not read here", "remove it; quotes make a value text")

    def _complain(self, mark: Mark, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, *mark, message, hint))

    def _stop(self, mark: Mark, message: str, hint: str) -> Stop:
        return Stop(Problem(self.file, *mark, message, hint))


def _json_key(value: Scalar) -> str:
    """Give the key that JSON output of Ansible has for a key that is not text."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
