"""The rules in force: read when their files change, and refused where they are wrong; then what was good last stays.

What is in force is on record: whoever loads a good file appends its content. So a worker that starts while a file is
broken finds the last good one in the log, as the others have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.rule.drafts import RULES
from mimrun.app.rules import RULE, note_content, recorded_contents, recorded_files
from mimrun.app.runbooks import library_folders
from mimrun.errors import Problem, SettingsError
from mimrun.incident.rule import Rule
from mimrun.incident.rule_file import LIMITS_FILE, is_nameable, parse_limits, parse_rules, rule_files
from mimrun.incident.rule_lint import lint_rules
from mimrun.incident.storm import Limits
from mimrun.log.field import clean_text
from mimrun.runbook.document import read_bytes, read_document
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.library import find_runbook
from mimrun.runbook.loader import LoadedRunbook
from mimrun.settings import Settings

LIMITS: Final = f"{RULE}{LIMITS_FILE}"

Marks = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of rules as somebody has read it.

    Arguments:
        name: as it is recorded: `rules/database.yaml`.
        digest: of its content.
        rules: what it says; none where it is no file of rules.
        findings: what is wrong with it.
    """

    name: str
    digest: str
    rules: tuple[Rule, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why it is refused; nothing where it is not."""
        return tuple(one.problem for one in self.findings if one.level is Level.ERROR)


@dataclass(frozen=True, slots=True)
class RulesNow:
    """The rules in force.

    Arguments:
        rules: all of them, in the order of their files.
        of: by the name of a rule, the digest of the content that it stands in.
        limits: how much they may do.
        problems: what is wrong with the files as they are.
        behind: the files of which something older is in force, or nothing.
        unbounded: somebody has written limits which nobody could ever read: they may be tighter than the usual ones.
    """

    rules: tuple[Rule, ...] = ()
    of: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    problems: tuple[Problem, ...] = ()
    behind: tuple[str, ...] = ()
    unbounded: bool = False


def examine_file(name: str, path: Path, content: bytes) -> RuleFile:
    """Read a file of rules, and say everything that is wrong with it, as the library is now."""
    digest = canonical.digest_bytes(content)
    try:
        document = read_document(content, str(path), error=SettingsError)
        rules = parse_rules(document)
    except SettingsError as exc:
        return RuleFile(name, digest, findings=tuple(Finding(one, Level.ERROR) for one in exc.problems))
    return RuleFile(name, digest, rules, tuple(lint_rules(document, rules, _finder())))


def examine_all(settings: Settings) -> list[RuleFile]:
    """Read every file of rules as it is, and say everything that is wrong.

    Raises:
        SettingsError: the folder cannot be read.
    """
    found, seen = [], dict[str, str]()
    for path in _files(settings):
        file = _examined(path)
        name = file.name
        twice = [_twice(path, rule, seen[rule.name]) for rule in file.rules if rule.name in seen]
        seen |= {rule.name: path.name for rule in file.rules}
        found.append(RuleFile(name, file.digest, file.rules, (*file.findings, *twice)))
    return found


def _examined(path: Path) -> RuleFile:
    name = f"{RULE}{path.name}"
    try:
        if not is_nameable(path.name):
            name = clean_text(ascii(name)[1:-1], 200)
            wrong = Problem(name, 0, 0, "the log cannot name it so", "give the file a plain, shorter name")
            raise SettingsError(problems=[wrong])
        return examine_file(name, path, read_bytes(path, error=SettingsError))
    except SettingsError as exc:
        return _refused(name, exc)


def examine_limits(settings: Settings) -> tuple[Limits | None, tuple[Problem, ...]]:
    """Read how much rules may do; None and what is wrong with it where it cannot be read."""
    try:
        return _limits(settings), ()
    except SettingsError as exc:
        return None, exc.problems


class RulesReader:
    """Reads the rules again when a file has changed, and knows which are in force.

    Arguments:
        home: says where they are.
        record: put on record what is in force; not where somebody only looks.
    """

    def __init__(self, home: Home, *, record: bool = True) -> None:
        self._home, self._records = home, record
        self._marks: Marks | None = None
        self._writing: Marks | None = None
        self._good: dict[str, RuleFile] = {}
        self._limits: Limits | None = None
        self.now = RulesNow()

    def changed(self, *, anyway: bool = False) -> bool:
        """Read what has changed; says whether something was read.

        A file that somebody is just writing is left alone until it looks the same twice.

        Arguments:
            anyway: also where no file has changed: the library may have been mended.

        Raises:
            StoreError: the log cannot be read or written.
        """
        marks = _marks(self._home.settings)
        if marks == self._marks and not anyway:
            self._writing = None
            return False
        if self._marks is not None and marks not in (self._marks, self._writing):
            self._writing = marks
            return False
        before, self._marks, self._writing = self.now, marks, None
        self.now = self._read()
        return self.now != before

    def _read(self) -> RulesNow:
        try:
            files = examine_all(self._home.settings)
        except SettingsError as exc:
            # Nobody can say which files there are: those that were are in force still.
            names = list(self._good) or [n for n in recorded_files(self._home, RULE) if n != LIMITS]
            files = [_refused(name, exc) for name in names or [RULE]]
        holding = {file.name: self._holding(file) for file in files}
        self._good = {name: file for name, file in holding.items() if file is not None}
        for file in files:
            if not file.errors:
                self._record(file.name, file.digest)
        rules: dict[str, tuple[Rule, str]] = {}
        for file in self._good.values():
            for rule in file.rules:
                rules.setdefault(rule.name, (rule, file.digest))
        limits, wrong = self._limits_now()
        return RulesNow(
            tuple(rule for rule, _ in rules.values()),
            {name: digest for name, (_, digest) in rules.items()},
            limits,
            tuple(dict.fromkeys((*(problem for file in files for problem in file.errors), *wrong))),
            (*(file.name for file in files if file.errors), *([LIMITS] if wrong else [])),
            self._limits is None,
        )

    def _holding(self, file: RuleFile) -> RuleFile | None:
        """Give what of a file is in force: itself, or what was good of it last; None where nothing ever was."""
        if not file.errors:
            return file
        if file.name in self._good:
            return self._good[file.name]
        path = self._home.settings.rules / file.name.removeprefix(RULE)
        for by, content in recorded_contents(self._home, file.name):
            earlier = examine_file(file.name, path, content) if content else RuleFile(file.name, "")
            # What was in force and names a runbook that is not there any more fails when it fires, and does not vanish.
            if not earlier.errors or (by == RULES.id and earlier.rules):
                return earlier
        return None

    def _limits_now(self) -> tuple[Limits, tuple[Problem, ...]]:
        limits, wrong = examine_limits(self._home.settings)
        if limits is not None:
            self._limits = limits
            self._record(LIMITS)
        elif self._limits is None:
            self._limits = self._recorded_limits()
        return self._limits or Limits(), wrong

    def _recorded_limits(self) -> Limits | None:
        for _, content in recorded_contents(self._home, LIMITS):
            with suppress(SettingsError):
                return parse_limits(read_document(content, LIMITS, error=SettingsError))
        return None

    def _record(self, name: str, digest: str = "") -> None:
        """Put on record what is in force, unless the file has changed again meanwhile."""
        if not self._records:
            return
        path = self._home.settings.rules / name.removeprefix(RULE)
        with suppress(SettingsError):
            content = read_bytes(path, error=SettingsError) if path.exists() else b""
            if not digest or canonical.digest_bytes(content) == digest:
                note_content(self._home, RULES, name, content)


def _refused(name: str, exc: SettingsError) -> RuleFile:
    return RuleFile(name, "", findings=tuple(Finding(one, Level.ERROR) for one in exc.problems))


def _limits(settings: Settings) -> Limits:
    path = settings.rules / LIMITS_FILE
    if not path.exists():
        return Limits()
    return parse_limits(read_document(read_bytes(path, error=SettingsError), str(path), error=SettingsError))


def _twice(path: Path, rule: Rule, other: str) -> Finding:
    message = f"there is a rule {rule.name!r} in {other} already"
    return Finding(Problem(str(path), 0, 0, message, "give one of them another name"), Level.ERROR)


def _files(settings: Settings) -> Sequence[Path]:
    try:
        return rule_files(settings.rules)
    except OSError as exc:
        problem = Problem(str(settings.rules), 0, 0, f"cannot be read: {exc.strerror}")
        raise SettingsError(problems=[problem]) from exc


def _finder() -> Callable[[str], LoadedRunbook]:
    folders, known = library_folders(), dict[str, LoadedRunbook]()

    def find(reference: str) -> LoadedRunbook:
        if reference not in known:
            known[reference] = find_runbook(reference, folders)
        return known[reference]

    return find


def _marks(settings: Settings) -> Marks:
    return dict(_each_mark(settings))


def _each_mark(settings: Settings) -> Iterator[tuple[str, tuple[int, int, int]]]:
    with suppress(OSError):
        for path in (*rule_files(settings.rules), settings.rules / LIMITS_FILE):
            with suppress(OSError):
                stat = path.stat()
                yield path.name, (stat.st_mtime_ns, stat.st_ino, stat.st_size)
