"""Host patterns: from `web:&zone_a:!frozen` to a list of hosts, in the order in which Ansible gives them.

The steps and their order are Ansible's: split into terms; terms that add hosts first, then those that
keep (`&`), then those that take away (`!`); groups before hosts; a subscript counts in what its own term
found. Where Ansible would go on with a warning, `strict` makes it an error.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mimrun.errors import InventoryError
from mimrun.runbook.hostname import mask_brackets, split_port
from mimrun.runbook.suggestion import suggest

LOCALHOSTS: Final = ("127.0.0.1", "localhost", "::1")
"""Names that mean this machine, in an inventory or not."""

NO_INVENTORY: Final = (
    "no inventory was given, so only this machine is known; choose one (-i at the command line)"
)
"""The hint where a pattern names nothing because there is nothing to name."""

MAX_LENGTH: Final = 4096
"""A longer pattern is refused."""

_SUBSCRIPT: Final = re.compile(
    r"(?P<term>.+)\[(?:(?P<index>-?[0-9]{1,9})|(?P<first>[0-9]{1,9})[:-](?P<last>[0-9]{0,9}))\]"
)
_OUTER: Final = re.compile(r"[^\s:\[\]]+")


@dataclass(frozen=True, slots=True)
class Names:
    """What a pattern is matched against.

    Arguments:
        hosts: every host of the inventory, in order of appearance.
        groups: the hosts of every group and of the groups below it, by group, in order of appearance.
        localhost: the inventory's own host for this machine, or "".
        given: False where there is no inventory at all.
    """

    hosts: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    localhost: str = ""
    given: bool = True


@dataclass(slots=True)
class _Selection:
    names: Names
    pattern: str
    implicit: str
    unmatched: list[str]


def split_pattern(pattern: str) -> tuple[str, ...]:
    """Split a host pattern into its terms.

    Arguments:
        pattern: terms separated by commas, or else by colons; an address or a range keeps its colons.
    """
    if "," in pattern:
        parts: Iterable[str] = pattern.split(",")
    elif split_port(pattern):
        parts = [pattern]
    else:
        parts = (pattern[found.start() : found.end()] for found in _OUTER.finditer(mask_brackets(pattern)))
    return tuple(part.strip() for part in parts if part.strip())


def select_hosts(names: Names, pattern: str, *, strict: bool = False) -> tuple[str, ...]:
    r"""Give the hosts that a pattern names.

    Arguments:
        names: what there is to choose from.
        pattern: as in Ansible: `a:b`, `a,b`, `a:&b`, `a:!b`, `web*`, `~web\d+`, `web[0]`, `web[0:2]`, `all`.
        strict: a term that matches no group and no host is an error; else it is passed over, as in Ansible.

    Returns:
        host names without repetition; it can be empty.

    Raises:
        InventoryError: the pattern is empty or cannot be read, a subscript is out of range, or (strict) a
            term matches nothing.
    """
    terms = split_pattern(pattern)
    if not terms or len(pattern) > MAX_LENGTH:
        what = f"is longer than {MAX_LENGTH} characters" if terms else "is empty"
        raise InventoryError(f"the host pattern {what}; write 'all' when every host is meant")
    selection = _Selection(names, pattern, "", [])
    found = _evaluate(selection, terms)
    if strict and selection.unmatched:
        raise InventoryError("\n".join(_unmatched(selection, term) for term in selection.unmatched))
    return tuple(dict.fromkeys(found))


def _evaluate(selection: _Selection, terms: Sequence[str]) -> list[str]:
    adding = [term for term in terms if term[0] not in "&!"] or ["all"]
    keeping = [term for term in terms if term[0] == "&"]
    removing = [term for term in terms if term[0] == "!"]
    hosts = set(selection.names.hosts)
    found: list[str] = []
    for term in adding:
        found += [term] if term in hosts else _match(selection, term)
    for term in keeping:
        kept = set(_match(selection, term[1:]))
        found = [host for host in found if host in kept]
    for term in removing:
        removed = set(_match(selection, term[1:]))
        found = [host for host in found if host not in removed]
    return found


def _match(selection: _Selection, term: str) -> Sequence[str]:
    if not term:
        raise InventoryError(
            f"the host pattern {selection.pattern!r} has '&' or '!' without a name behind it"
        )
    # A regular expression keeps its brackets.
    subscript = None if term[0] == "~" else _SUBSCRIPT.fullmatch(term)
    found = _enumerate(selection, subscript["term"] if subscript else term)
    if not subscript or not found:
        return found
    if subscript["index"] is None:
        first, last = int(subscript["first"]), int(subscript["last"] or -1)
        if last:
            return found[first:] if last == -1 else found[first : last + 1]
    else:
        first = int(subscript["index"])
    if not -len(found) <= first < len(found):
        raise InventoryError(
            f"no host has the position asked for by {term!r}: {subscript['term']!r} names {len(found)} host(s)"
        )
    return [found[first]]


def _enumerate(selection: _Selection, term: str) -> Sequence[str]:
    names = selection.names
    expression = _compile(term)
    groups = [group for group in names.groups if expression.match(group)]
    found = [host for group in groups for host in names.groups[group]]
    if not groups or term[0] == "~" or set(term) & set(".?*["):
        found += [host for host in names.hosts if expression.match(host)]
    if not found and term in LOCALHOSTS:
        selection.implicit = names.localhost or selection.implicit or term
        return [selection.implicit]
    if not found and not groups and term != "all":
        selection.unmatched.append(term)
    return found


def _compile(term: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # What a later Python may read differently is no concern of whoever types a pattern now.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(term[1:] if term[0] == "~" else fnmatch.translate(term))
    except (re.error, RecursionError, OverflowError) as exc:
        raise InventoryError(f"the host pattern {term!r} is not a regular expression: {exc}") from exc


def _unmatched(selection: _Selection, term: str) -> str:
    if not selection.names.given:
        hint = NO_INVENTORY
    elif "," in selection.pattern and ":" in term:
        hint = "a pattern is split at ',' or at ':', not at both: use ',' throughout"
    elif term[0] == "~" or set(term) & set("?*["):
        hint = "list what there is with 'all'"
    else:
        hint = suggest(term, {*selection.names.hosts, *selection.names.groups})
    return f"no host or group matches {term!r} in the host pattern {selection.pattern!r}; {hint}".rstrip("; ")
