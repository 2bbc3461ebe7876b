"""The file `watches.yaml`: which queries are asked, and in whose name their alerts are recorded; read strictly.

source: watch
watches:
  - name: checkout-errors
    address: http://prometheus.example.org:9090
    query: sum by (service) (rate(http_errors_total[5m])) / sum by (service) (rate(http_requests_total[5m]))
    above: "0.05"
    clear: "0.02"
    for: 1m
    severity: critical
    title: A service answers with errors
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.errors import Problem, SettingsError
from mimrun.incident.source import Sources
from mimrun.incident.watch import Watch, Watches
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of
from mimrun.secret import parse_reference

_TOP = tuple(Watches.model_fields)


def load_watches(path: Path, sources: Sources) -> Watches:
    """Read the file.

    Arguments:
        sources: who may send alerts; the watches do so in the name of one of them.

    Raises:
        SettingsError: it is not what it should be; every problem is named with its place.
    """
    return parse_watches(load_document(path, error=SettingsError), sources)


def parse_watches(document: Document, sources: Sources) -> Watches:
    """Make the watches of a document.

    Raises:
        SettingsError: as for `load_watches`.
    """
    problems, found = list[Problem](), list[Watch]()
    top = document.value if isinstance(document.value, dict) else {}
    if not top:
        problems.append(document.problem((), "has no watches", f"allowed here: {', '.join(_TOP)}"))
    problems += [
        document.problem((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
        for key in top
        if key not in _TOP
    ]
    source, listed = top.get("source"), top.get("watches")
    problems += [document.problem(("source",), *said) for said in _source(source, sources)]
    if not isinstance(listed, list):
        problems.append(document.problem(("watches",), "must be a list of watches"))
        listed = []
    for number, value in enumerate(listed):
        problems += _read(document, ("watches", number), value, found)
    if problems:
        raise SettingsError(problems=set(problems))
    return Watches(source=str(source), watches=tuple(found))


def _source(name: Json, sources: Sources) -> Iterator[tuple[str, str]]:
    if not isinstance(name, str):
        yield "the key 'source' is missing", "name a source of alerts.yaml, of kind alertmanager"
        return
    known = sources.by_name.get(name)
    if known is None:
        yield f"alerts.yaml has no source {name!r}", suggest(name, sources.by_name)
    elif known.kind != "alertmanager" or not known.token:
        yield f"{name} is no source of kind alertmanager with a token", "give the watches one of their own"


def _read(document: Document, where: ValuePath, value: Json, found: list[Watch]) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield document.problem(where, "must be a mapping of keys")
        return
    try:
        watch = Watch.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as exc:
        yield from problems_of(exc, document, where, Watch)
        return
    for place, message, hint in _wrong(watch, found):
        yield document.problem((*where, *place), message, hint)
    found.append(watch)


def _wrong(watch: Watch, before: list[Watch]) -> Iterator[tuple[ValuePath, str, str]]:
    if any(other.name == watch.name for other in before):
        yield ("name",), f"there are two watches called {watch.name!r}", ""
    if watch.above is not None and watch.below is not None:
        yield ("below",), "a watch has `above` or `below`, and not both", "write two watches"
    if watch.clear is not None and watch.any_answer:
        yield ("clear",), "there is no number that it would be beyond", "write `above` or `below`"
    if watch.clear is not None and watch.above is not None and Decimal(watch.clear) > Decimal(watch.above):
        yield ("clear",), f"{watch.clear} is above {watch.above}: it would be over before it begins", ""
    if watch.clear is not None and watch.below is not None and Decimal(watch.clear) < Decimal(watch.below):
        yield ("clear",), f"{watch.clear} is below {watch.below}: it would be over before it begins", ""
    if watch.token:
        try:
            parse_reference(watch.token)
        except SettingsError:
            # The value may be the token itself: it is not repeated.
            yield ("token",), "token is a reference to a secret, and not the secret", "such as file:/PATH"
    for name in ("alertname", "severity"):
        if name in watch.labels:
            yield ("labels", name), f"{name} is set by the watch itself", ""
