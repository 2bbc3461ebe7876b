"""What can be done on the machine that runs mimrun."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import model_validator

from mimrun.connector import Action, Effect, Field, Refused, Settings

Mode: TypeAlias = Annotated[str, Field(pattern=r"^0?[0-7]{3,4}$")]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LocalSettings(Settings):
    """There is nothing to set: the machine is the one that runs mimrun."""


class Program(Action):
    """What `command`, `shell` and `script` have in common."""

    effect = Effect.ONCE
    effect_fields = frozenset({"creates", "removes"})
    chdir: str = Field("", description="The folder to run in; mimrun's own when left out.")
    stdin: str = Field("", description="Text for its standard input, which is empty otherwise.")
    creates: str = Field("", description="Not run when this path is there already.")
    removes: str = Field("", description="Not run when this path is not there.")
    ok_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        (0,), min_length=1, description="Exit codes that mean success."
    )
    changed: bool = Field(
        default=True, description="Whether a run counts as a change; false for a program that only looks."
    )

    def effect_class(self) -> Effect:
        """Give `probe` where a path tells that it was done, else `once`."""
        return Effect.PROBE if self.creates or self.removes else Effect.ONCE

    def notes(self) -> str:
        """Give the circumstances that differ from the usual, for the plan."""
        shown = self.model_dump(mode="json", exclude_defaults=True)
        keys = ("chdir", "creates", "removes", "ok_codes", "changed")
        notes = [f"{key}={shown[key]!r}" for key in keys if key in shown]
        notes += [f"stdin of {len(self.stdin)} characters"] * bool(self.stdin)
        return f"  ({', '.join(notes)})" if notes else ""


class Command(Program):
    """Run a program with its arguments; no shell reads them. Exit status 0 is success."""

    verb = "command"
    argv: tuple[str, ...] = Field(min_length=1, description="The program and its arguments, one each.")

    def summary(self) -> str:
        """Give the command as one would type it."""
        return shlex.join(self.argv) + self.notes()


class Shell(Program):
    """Run a line of shell: for pipes and redirections, where `local.command` is not enough."""

    verb = "shell"
    cmd: str = Field(min_length=1, description="The shell text. Quote every value that is put into it.")
    executable: str = Field("/bin/sh", pattern=r"^/", description="The shell that runs it.")

    def summary(self) -> str:
        """Give the text as it is handed to the shell."""
        shell = "" if self.executable == "/bin/sh" else f"{self.executable} -c "
        return shell + (shlex.quote(self.cmd) if shell else self.cmd) + self.notes()


class Sourced(Action):
    """What `script` and `copy` have in common: text in the runbook, or a file beside mimrun."""

    local_files: ClassVar[Mapping[str, str]] = MappingProxyType({"src": "sha256"})
    content: str | None = Field(None, description="The text itself; it is part of what is approved.")
    src: str | None = Field(None, description="A file on the machine that runs mimrun, instead of `content`.")
    sha256: Sha256 | None = Field(
        None,
        description="What `src` must hash to; another content is refused. Filled in when the plan is made.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.content is None) == (self.src is None):
            raise ValueError("give one of content and src")
        return self

    def read(self) -> bytes:
        """Give the bytes.

        Raises:
            Refused: `src` cannot be read, or is not what `sha256` says.
        """
        if self.content is not None:
            return self.content.encode("utf-8", "surrogateescape")
        try:
            data = Path(str(self.src)).read_bytes()
        except OSError as exc:
            raise Refused(f"local.{self.verb}: cannot read src: {exc}") from exc
        found = hashlib.sha256(data).hexdigest()
        if self.sha256 not in (None, found):
            raise Refused(f"local.{self.verb}: {self.src} has sha256 {found}, not {self.sha256}")
        return data


class Script(Program, Sourced):
    """Run a script from the runbook or from a file, by its `#!` line or else by `/bin/sh`."""

    verb = "script"
    args: tuple[str, ...] = Field((), description="Arguments for the script.")
    executable: str = Field(
        "", description="Its interpreter, such as `/bin/bash`; the script's first line decides otherwise."
    )

    def summary(self) -> str:
        """Give the script with its arguments."""
        what = self.src if self.src is not None else f"<{len(self.content or '')} characters>"
        content = f" [sha256 {self.sha256[:12]}]" if self.sha256 else ""
        return f"script {shlex.join([what, *self.args])}" + content + self.notes()


class Copy(Sourced):
    """Make a file hold exactly this content. It is replaced whole or not at all."""

    verb = "copy"
    effect = Effect.IDEMPOTENT
    dest: str = Field(pattern=r"^/", description="The file's absolute path; its folder must be there.")
    mode: Mode | None = Field(
        None, description="Permissions in octal, as '0644'; kept as they are without it, 0644 for a new file."
    )


LocalAction: TypeAlias = Command | Shell | Script | Copy
