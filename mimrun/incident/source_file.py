"""The file `alerts.yaml`: who may send alerts, how they prove it, and where in them is what; read strictly.

sources:
  prometheus: {kind: alertmanager, token: file:/etc/mimrun/alertmanager.token, may_launch: true}
  pager:      {kind: pagerduty, secrets: [env:PAGERDUTY_SECRET, env:PAGERDUTY_SECRET_NEXT]}
  statuspage:
    kind: json
    token: env:STATUSPAGE_TOKEN
    mapping: {fingerprint: component.id, title: incident.name, status: {path: state, values: {up: resolved}, otherwise: firing}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.errors import Problem, SettingsError
from mimrun.incident.source import MAPPED, MEANT, AlertMapping, Source, Sources, Take
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of
from mimrun.secret import parse_reference

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TOP: Final = ("sources",)
_PROOFS: Final = ("token", "secrets", "unauthenticated")


def load_sources(path: Path) -> Sources:
    """Read the file; nobody may send alerts where it is not there.

    Raises:
        SettingsError: it is not what it should be; every problem is named with its place.
    """
    if not path.exists() and not path.is_symlink():
        return Sources(file=str(path))
    return parse_sources(load_document(path, error=SettingsError))


def parse_sources(document: Document) -> Sources:
    """Make the sources of a document.

    Raises:
        SettingsError: as for `load_sources`.
    """
    reader = _Reader(document)
    sources = reader.sources()
    if reader.problems:
        raise SettingsError(problems=reader.problems)
    return Sources(sources, document.file)


class _Reader:
    """Collects the sources and everything that is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def sources(self) -> dict[str, Source]:
        top = self.document.value
        if not isinstance(top, dict) or not isinstance(top.get("sources"), dict):
            self._wrong((), "a file of alerts has a key 'sources', with a source under each name")
            return {}
        for key in top:
            if key not in _TOP:
                self._wrong((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
        found = {name: self._source(name, value) for name, value in top["sources"].items()}
        sources = {name: source for name, source in found.items() if source is not None}
        self._check_shared(sources)
        return sources

    def _source(self, name: str, value: Json) -> Source | None:
        where: ValuePath = ("sources", name)
        if not _NAME.fullmatch(name):
            self._wrong(where, f"name {name!r} must be lower case letters, digits, '_' or '-'", at_key=True)
        if not isinstance(value, dict):
            self._wrong(where, "a source is a mapping, with its kind and its token or secrets")
            return None
        try:
            source = Source.model_validate(value)
        except ValidationError as exc:
            self.problems += problems_of(exc, self.document, where, Source)
            return None
        self._check_proof(where, source)
        self._check_kind(where, source)
        if source.mapping is not None:
            if source.kind == "cloudevents" and source.mapping.alerts:
                self._wrong((*where, "mapping", "alerts"), "an event is one alert; take it away", at_key=True)
            self._check_mapping((*where, "mapping"), source.mapping)
        return source

    def _check_proof(self, where: ValuePath, source: Source) -> None:
        """See that a source proves who it is in one way, and says in references how."""
        given = [key for key in _PROOFS if getattr(source, key)]
        if not given:
            hint = "give `token` or `secrets`, or say `unauthenticated: true`"
            self._wrong(where, "anybody could send alerts under this name", hint, at_key=True)
        if len(given) > 1:
            self._wrong(
                (*where, given[1]), f"a source has {' or '.join(_PROOFS)}, and not several", at_key=True
            )
        if source.unauthenticated and source.may_launch:
            hint = "take one of the two away"
            self._wrong((*where, "may_launch"), "what anybody may send launches nothing", hint, at_key=True)
        for key in ("token", "secrets"):
            for number, reference in enumerate(getattr(source, key)):
                self._check_reference((*where, key, number), key, reference)

    def _check_reference(self, where: ValuePath, key: str, reference: str) -> None:
        try:
            parse_reference(reference)
        except SettingsError:
            # The value may be the secret itself: it is not repeated.
            hint = "write it into a file and say file:/PATH, or env:NAME, keyring:..., vault:..."
            message = f"{key} is a reference to a secret, and not the secret itself"
            self._wrong(where if where in self.document.marks else where[:-1], message, hint)

    def _check_kind(self, where: ValuePath, source: Source) -> None:
        """See that what is said goes with the kind of the source."""
        if source.kind == "alertmanager" and source.secrets:
            hint = "give `token`, and in Alertmanager http_config.authorization"
            self._wrong((*where, "secrets"), "Alertmanager signs nothing", hint, at_key=True)
        for key in ("signature_header", "timestamp_header"):
            if getattr(source, key) and (source.kind != "grafana" or not source.secrets):
                self._wrong((*where, key), f"{key} goes with kind: grafana and `secrets`", at_key=True)
        if source.kind == "json" and source.mapping is None:
            self._wrong(where, "kind: json needs a `mapping` that says where in it is what", at_key=True)
        if source.kind not in MAPPED and source.mapping is not None:
            hint = "its form is known"
            self._wrong((*where, "mapping"), f"kind: {source.kind} takes no mapping", hint, at_key=True)

    def _check_mapping(self, where: ValuePath, mapping: AlertMapping) -> None:
        for place, take in _takes(mapping):
            if take.path and take.constant:
                self._wrong((*where, *place), "takes a path or a constant, and not both")
            if place == ("fingerprint",) and not take.path:
                self._wrong((*where, *place), "everything would be about the same: give a path")
            allowed = MEANT.get(str(place[0]))
            if allowed is not None:
                self._check_words((*where, *place), take, allowed)

    def _check_words(self, where: ValuePath, take: Take, allowed: frozenset[str]) -> None:
        said: list[tuple[ValuePath, str]] = [(("values", key), value) for key, value in take.values.items()]
        said += [((key,), value) for key in ("constant", "otherwise") if (value := getattr(take, key))]
        for place, value in said:
            if value not in allowed:
                self._wrong((*where, *place), f"{value!r} is no {where[-1]}", suggest(value, allowed))

    def _check_shared(self, sources: dict[str, Source]) -> None:
        """See that what somebody sends is of one source and no other."""
        seen: dict[tuple[str, str], str] = {}
        for name, source in sources.items():
            for reference in (*source.token, *source.secrets):
                first = seen.setdefault((source.kind, reference), name)
                if first != name:
                    message = f"the same secret as that of {first!r}, so that nobody can tell the two apart"
                    self._wrong(("sources", name), message, "give each source a secret of its own")

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))


def _takes(mapping: AlertMapping) -> Iterator[tuple[tuple[str | int, ...], Take]]:
    """Give every place in a mapping that says where something is taken from."""
    for name in AlertMapping.model_fields:
        value = getattr(mapping, name)
        match value:
            case Take():
                yield (name,), value
            case dict():
                yield from (((name, key), take) for key, take in value.items())
            case tuple() if name == "key":
                yield from (((name, number), take) for number, take in enumerate(value))
