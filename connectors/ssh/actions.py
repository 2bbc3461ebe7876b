"""What can be done on a host over SSH. The fields are the keys an author writes in a runbook."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from mimrun.connector import Action, Effect


def _only_text(value: object) -> object:
    """Refuse a number: YAML reads an unquoted 0644 as 420."""
    if value is not None and not isinstance(value, str):
        raise ValueError('write permissions as text: "0644"')
    return value


# The patterns are of Rust: `$` is the very end of the text, also where it ends in a newline.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""Text without a NUL character, which no command and no file name can hold."""
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]
RemotePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00]*[^/\x00]$", max_length=4096)]
LocalPath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=4096)]
Owner = Annotated[str, StringConstraints(pattern=r"^[^-\s:\x00][^\s:\x00]*$", max_length=256)]
Mode = Annotated[str, BeforeValidator(_only_text), StringConstraints(pattern=r"^[0-7]{3,4}$")]
# What systemd takes for a name (systemd.unit(5)), and nothing that systemctl takes for a pattern.
Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:\\][A-Za-z0-9_:.@\\-]*$", max_length=255)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

# A model is built when it is first used: a command pays only for the actions of its runbook.
_LAZY: Final = ConfigDict(defer_build=True)
DOWNLOAD_LIMIT: Final = 64 * 1024 * 1024
PINNED: Final = MappingProxyType({"src": "sha256"})


def _content(sha256: str | None) -> str:
    """Name the content of a file, short enough for one line."""
    return f" [sha256 {sha256[:12]}]" if sha256 else ""


class Execution(Action):
    """What every command has in common."""

    model_config = _LAZY
    effect = Effect.PROBE

    chdir: Text = Field("", description="Folder on the host to run in; the login's home when left out.")
    stdin: str = Field("", description="Text for the command's standard input, which is empty otherwise.")
    creates: Text = Field("", description="A path on the host; where it exists, nothing is run.")
    removes: Text = Field("", description="A path on the host; where it does not exist, nothing is run.")
    ok_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        (0,), min_length=1, description="Exit codes that mean success."
    )
    changed: bool = Field(
        default=True, description="Whether a run counts as a change; `false` for a command that only looks."
    )

    def _circumstances(self) -> str:
        notes = [
            f"{key}={value!r}"
            for key, value in self.model_dump(mode="json", exclude_defaults=True).items()
            if key in ("chdir", "creates", "removes", "ok_codes", "changed")
        ]
        if self.stdin:
            notes.append(f"stdin of {len(self.stdin)} characters")
        return f"  ({', '.join(notes)})" if notes else ""


class Command(Execution):
    """Run one program, without a shell in between: every argument arrives exactly as written."""

    verb = "command"

    argv: tuple[Text, ...] = Field(min_length=1, description="The program and its arguments.")

    @model_validator(mode="after")
    def _program_is_a_program(self) -> Self:
        if not self.argv[0] or self.argv[0].startswith("-"):
            raise ValueError("the first word of argv is the program; it must not be empty or begin with '-'")
        return self

    def summary(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.argv) + self._circumstances()


class Shell(Execution):
    """Run a line of shell. Prefer `ssh.command`: here each value must be quoted by whoever writes it."""

    verb = "shell"

    cmd: Word = Field(description="Shell text: pipes, redirections, several commands.")
    executable: RemotePath = Field("/bin/sh", description="The shell that runs it.")

    def summary(self) -> str:
        """The shell text itself."""
        shell = "" if self.executable == "/bin/sh" else f"{self.executable} -c "
        return shell + (shlex.quote(self.cmd) if shell else self.cmd) + self._circumstances()


class Script(Execution):
    """Run a script that lies beside mimrun: it is copied to the host, run there, and removed again."""

    verb = "script"
    local_files: ClassVar[Mapping[str, str]] = PINNED

    src: LocalPath = Field(description="The script, a file on the machine where mimrun runs.")
    args: tuple[Text, ...] = Field((), description="Arguments for the script.")
    executable: Text = Field(
        "",
        description="Interpreter on the host, such as `/bin/bash`; the script's first line decides otherwise.",
    )
    sha256: Sha256 | None = Field(
        None,
        description="What the script's content must be; another content is refused before anything runs."
        " Filled in when the plan is made.",
    )

    def summary(self) -> str:
        """The script with its arguments."""
        words = [self.executable] * bool(self.executable) + [self.src, *self.args]
        return f"script {shlex.join(words)}" + _content(self.sha256) + self._circumstances()


class Upload(Action):
    """Put a file on the host: all of it or nothing, and only where it differs."""

    verb = "upload"
    local_files: ClassVar[Mapping[str, str]] = PINNED
    model_config = _LAZY
    effect = Effect.IDEMPOTENT

    dest: RemotePath = Field(description="The file's full path on the host.")
    src: LocalPath | None = Field(None, description="A file on the machine where mimrun runs.")
    content: str | None = Field(None, description="The file's text, instead of `src`.")
    mode: Mode | None = Field(
        None,
        description='Permissions, quoted: "0644". Kept as they are, or 0644 for a new file, when left out.',
    )
    owner: Owner | None = Field(None, description="Who owns it; kept, or the login user, when left out.")
    group: Owner | None = Field(None, description="Its group; kept, or the login user's, when left out.")
    sha256: Sha256 | None = Field(
        None,
        description="What the content of `src` must be; another is refused before anything is sent."
        " Filled in when the plan is made.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.src is None) == (self.content is None):
            raise ValueError("give either src or content")
        return self

    def summary(self) -> str:
        """Where from, where to, and with which attributes."""
        source = self.src if self.src is not None else f"{len(self.content or '')} characters"
        notes = [f"{key}={value}" for key in ("mode", "owner", "group") if (value := getattr(self, key))]
        source += _content(self.sha256)
        return f"{source} -> {self.dest}" + (f"  ({', '.join(notes)})" if notes else "")


class Download(Action):
    """Fetch a file from the host: all of it or nothing, and only where it differs."""

    verb = "download"
    model_config = _LAZY
    effect = Effect.IDEMPOTENT

    src: RemotePath = Field(description="The file's full path on the host.")
    dest: LocalPath = Field(description="The file to write on the machine where mimrun runs.")
    max_bytes: int = Field(DOWNLOAD_LIMIT, ge=1, description="A bigger file is refused.")

    def summary(self) -> str:
        """Where from and where to."""
        return f"{self.src} -> {self.dest}"


class Service(Action):
    """Bring a systemd unit into a state, and say in which state it was and is."""

    verb = "service"
    model_config = _LAZY
    effect = Effect.PROBE
    effect_fields = frozenset({"state"})

    unit: Unit = Field(description="Name of the unit; `.service` is added where it has no suffix.")
    state: Literal["started", "stopped", "restarted", "reloaded"] | None = Field(
        None, description="`started` and `stopped` do nothing where it is so already; the others always act."
    )
    enabled: bool | None = Field(None, description="Whether it is to be started when the host boots.")

    @model_validator(mode="after")
    def _something_is_wanted(self) -> Self:
        if self.state is None and self.enabled is None:
            raise ValueError("give state, enabled, or both")
        return self

    def effect_class(self) -> Effect:
        """Restarting twice is not restarting once; starting, stopping and enabling twice is."""
        return Effect.PROBE if self.state in ("restarted", "reloaded") else Effect.IDEMPOTENT

    def summary(self) -> str:
        """The unit and what is wanted of it."""
        boot = {None: [], True: ["enabled"], False: ["disabled"]}[self.enabled]
        return f"{self.unit}: {', '.join([*([self.state] if self.state else []), *boot])}"


SshAction = Command | Shell | Script | Upload | Download | Service
ACTIONS: Final[tuple[type[Action], ...]] = (Command, Shell, Script, Upload, Download, Service)
