"""Every error that mimrun raises on purpose, in one tree.

The tree is split by what the person who meets the error can do about it:

    MimrunError                   exit 1
    ├── InputError                exit 2   what was given is wrong; nothing has been done
    │   ├── RunbookError                   the runbook: syntax, keys, types, expressions
    │   ├── InventoryError                 the inventory or a host pattern
    │   ├── PlanError                      runbook, inputs and inventory do not go together
    │   ├── AlertTooLargeError             a delivery of alerts is larger than anybody reads
    │   ├── AlertTypeError                 a delivery of alerts is not in a form that is read here
    │   └── SettingsError                  mimrun's own settings, people or home folder
    ├── RefusedError              exit 5   understood, and not allowed now
    │   ├── GateError                      an approval is missing, void, expired or not theirs to give
    │   ├── SignInError                    who acts is not proven, or may not do this with this token
    │   │   ├── NotSignedInError           nobody has signed in at the server, or not any more
    │   │   └── ChooseAnotherError         the password is right, and good only to choose another
    │   ├── TooManyGuessesError            somebody tries passwords too often
    │   ├── LeaseError                     another process holds this run
    │   ├── LockError                      another run holds a resource that this one needs
    │   ├── KillSwitchError                somebody stopped everything
    │   ├── BreakerError                   the runbook has failed too often in a row
    │   ├── AlertAuthError                 alerts came from nobody who may send them
    │   ├── IntakeClosedError              nobody can tell now who may send alerts; they are to come again
    │   └── ErasedError                    content that is needed was erased from the log, by two people
    ├── LogError                  exit 6   the incident log cannot be written, or does not verify
    │   ├── StoreError                     the store cannot be opened or written
    │   │   └── BlobKeyError               the key of the log's blobs is missing, or is another log's
    │   └── TamperError                    an entry is not what was recorded
    ├── RunError                  exit 1   the run cannot go on as asked
    ├── LabError                  exit 1   a real part for the demo or the tests cannot be started
    └── ConnectorError                     raised inside connectors only; `perform` turns it into an Outcome
        ├── Unreachable                    the target could not be asked: provably no effect
        ├── Refused                        the target said no before doing anything: provably no effect
        └── LostAnswer                     asked, and no answer came: the effect is unknown

A message says what, where and what next, in that order, in lower case. Anything that is not in this
tree is a bug in mimrun and may show a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class MimrunError(Exception):
    """Something mimrun noticed and can explain."""

    exit_code = 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a file, and where.

    Arguments:
        file: the path as the person gave it.
        line: 1-based; 0 where the whole file is meant.
        column: 1-based; 0 where the whole line is meant.
        message: what is wrong, in lower case.
        hint: what would be right ("did you mean 'ssh.command'?"), or "".
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class InputError(MimrunError):
    """What was given is wrong. Nothing has been done.

    Arguments:
        message: one sentence, used alone where there is no file to point at.
        problems: every problem found, so that a person mends them in one go.
    """

    exit_code = 2

    def __init__(self, message: str = "", problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(message or "\n".join(str(p) for p in self.problems))


class RunbookError(InputError):
    """The runbook cannot be read or is not a runbook."""


class InventoryError(InputError):
    """The inventory cannot be read, or a host pattern names nothing in it."""


class PlanError(InputError):
    """Runbook, inputs and inventory do not make a plan."""


class AlertTooLargeError(InputError):
    """A delivery of alerts is larger than anybody reads. Nothing of it was recorded."""


class AlertTypeError(InputError):
    """A delivery of alerts is not in a form that is read here. Nothing of it was recorded."""


class SettingsError(InputError):
    """mimrun's settings, its people file or its home folder are not usable."""


class RefusedError(MimrunError):
    """Understood, and not allowed now."""

    exit_code = 5


class GateError(RefusedError):
    """An approval is missing, void, expired or not this person's to give."""


class SignInError(RefusedError):
    """Who acts is not proven, or may not do this with the token that was given."""


class NotSignedInError(SignInError):
    """Nobody has signed in at the server: nothing was given, or what was given is not good, or not any more."""


class ChooseAnotherError(SignInError):
    """A password is right, and good only to choose another: somebody else has made it."""


class TooManyGuessesError(RefusedError):
    """Somebody tries too often to sign in at the server, or too many do at once."""


class LeaseError(RefusedError):
    """Another process is executing this run."""


class LockError(RefusedError):
    """Another run holds a resource that this one needs."""


class KillSwitchError(RefusedError):
    """Somebody pulled the kill switch: nothing may begin until two people have lifted it."""


class BreakerError(RefusedError):
    """The last runs of a runbook failed, and nobody has looked at them since."""


class AlertAuthError(RefusedError):
    """Alerts came from nobody who may send them. It never says what was wrong: an unknown source is no other answer."""


class IntakeClosedError(RefusedError):
    """Nobody can tell now who may send alerts: alerts.yaml or a secret of it cannot be read. They are to come again."""


class ErasedError(RefusedError):
    """Two people had this content erased from the log; the log itself is intact."""


class LogError(MimrunError):
    """The incident log cannot be written, or does not verify."""

    exit_code = 6


class StoreError(LogError):
    """The store cannot be opened or written. Nothing that changes a target is started."""


class BlobKeyError(StoreError):
    """The key of the log's blobs is missing, or is another log's: entries are read, and nothing is added."""


class TamperError(LogError):
    """An entry of the log is not what was recorded."""


class RunError(MimrunError):
    """The run cannot go on as asked."""


class LabError(MimrunError):
    """A real part for the demo or the tests cannot be started on this machine."""


class ConnectorError(MimrunError):
    """A connector could not do an action. Only connectors raise it; `Connector.perform` catches it."""


class Unreachable(ConnectorError):
    """The target could not be asked: no name, no route, no connection. Provably no effect."""


class Refused(ConnectorError):
    """The target refused before it did anything: login, host key, permission, validation."""


class LostAnswer(ConnectorError):
    """The target was asked and no answer came: time-out, reset, broken reply. The effect is unknown."""
