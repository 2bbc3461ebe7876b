"""Inputs: from what a caller gives to values of the types that the runbook asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from pydantic import JsonValue

from mimrun.canonical import MAX_INTEGER, Json
from mimrun.errors import PlanError, Problem
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import load_document
from mimrun.runbook.duration import format_duration, parse_duration
from mimrun.runbook.model import Input, InputType, Runbook
from mimrun.runbook.regex import fits
from mimrun.runbook.suggestion import suggest
from mimrun.secret import ALLOWED, REFERENCE, suggest_reference

PLACE: Final = "inputs"
"""What a message names instead of a file."""

MAX_TEXT: Final = 65_536
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """What a caller gave.

    Arguments:
        values: by name, as far as it could be read; not yet checked.
        problems: what is wrong with the rest.
        unread: the inputs that the rest may have been meant for: none of them is called missing.
    """

    values: Mapping[str, JsonValue]
    problems: tuple[Problem, ...] = ()
    unread: frozenset[str] = frozenset()


def parse_inputs(runbook: Runbook, given: Sequence[str]) -> GivenInputs:
    """Read inputs as they are written on a command line.

    Arguments:
        runbook: says which inputs there are and of which types.
        given: `name=text`, `name:=JSON`, or `@FILE` with a YAML or JSON mapping; later ones win.

    Returns:
        the inputs that were given, each with the type that the runbook asks for, and every word that cannot
        be read; `complete_inputs` says it together with what is wrong with the values.
    """
    found: dict[str, JsonValue] = {}
    problems: list[Problem] = []
    unread: set[str] = set()
    for word in given:
        try:
            found.update(_read_word(runbook, word))
        except PlanError as exc:
            problems += exc.problems or [Problem(PLACE, 0, 0, str(exc))]
            unread |= runbook.inputs.keys() if word.startswith("@") else {word.partition("=")[0].rstrip(":")}
    return GivenInputs(found, tuple(problems), frozenset(unread))


def complete_inputs(runbook: Runbook, given: GivenInputs | Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Check inputs, and fill in the defaults of those that were not given.

    Arguments:
        given: what was read, or values by name; a secret is a reference: `env:NAME`,
            `file:PATH`, `keyring:SERVICE/USERNAME` or `vault:MOUNT/PATH#FIELD`.

    Returns:
        a value for every input of the runbook; a secret is `{"secret": REFERENCE}`.

    Raises:
        PlanError: with every input that cannot be read, is missing, unknown or wrong.
    """
    words = given if isinstance(given, GivenInputs) else GivenInputs(given)
    problems = [*words.problems, *_unknown(runbook, words.values)]
    complete: dict[str, JsonValue] = {}
    for name, spec in runbook.inputs.items():
        if name in words.unread and name not in words.values:
            continue
        value = words.values.get(name, spec.default)
        if value is None and (spec.required or name in words.values):
            what = "needs a value" if name in words.values else "is missing"
            problems.append(Problem(PLACE, 0, 0, f"{name} {what}", _asked_for(name, spec)))
            continue
        try:
            complete[name] = None if value is None else check_input(spec, value)
        except ValueError as exc:
            problems.append(Problem(PLACE, 0, 0, f"{name}: {exc}", spec.help))
    if problems:
        raise PlanError(problems=problems)
    return complete


def _unknown(runbook: Runbook, values: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for name in values.keys() - runbook.inputs.keys():
        yield Problem(PLACE, 0, 0, f"the runbook has no input {name!r}", suggest(name, runbook.inputs))


def check_input(spec: Input, value: JsonValue) -> JsonValue:
    """Give the value of one input in its final form.

    Raises:
        ValueError: it is not of the type, or not one of the values that are allowed.
    """
    match spec.type:
        case InputType.STRING:
            return _text(spec, value)
        case InputType.INTEGER:
            return _integer(spec, value)
        case InputType.BOOLEAN:
            if not isinstance(value, bool):
                raise ValueError(f"{value!r} must be true or false")
            return value
        case InputType.DURATION:
            if not isinstance(value, int | str):
                raise ValueError(f"{value!r} is not a duration; write 30s, 5m or 1h30m")
            return format_duration(parse_duration(value))
        case InputType.LIST:
            return _list(spec, value)
        case InputType.SECRET:
            return {"secret": _reference(value)}
        case _:
            assert_never(spec.type)


def is_secret(value: JsonValue) -> bool:
    """Say whether a value of an input is a reference to a secret."""
    return isinstance(value, dict) and set(value) == {"secret"}


def is_confined(spec: Input) -> bool:
    """Say whether the author limits what a caller can write: only then may it stand anywhere."""
    return spec.type not in (InputType.STRING, InputType.LIST) or bool(spec.pattern or spec.choices)


def _read_word(runbook: Runbook, word: str) -> dict[str, JsonValue]:
    if not _is_utf8(word):
        name = word.partition("=")[0].rstrip(":")
        raise PlanError(f"{name if _is_utf8(name) and name != word else repr(word)}: is not UTF-8")
    if word.startswith("@"):
        content = load_document(Path(word[1:]), error=PlanError).value
        if not isinstance(content, dict):
            raise PlanError(problems=[Problem(word[1:], 1, 1, "is not a mapping of input names to values")])
        return {name: _json(value) for name, value in content.items()}
    name, sign, text = word.partition("=")
    if not sign or not name:
        raise PlanError(f"{word!r} is not an input; write name=value, name:=JSON or @FILE")
    if name.endswith(":"):
        try:
            return {name[:-1]: json.loads(text)}
        except (ValueError, RecursionError) as exc:
            raise PlanError(f"{name[:-1]}: {text!r} is not JSON: {exc}") from exc
    spec = runbook.inputs.get(name)
    return {name: text if spec is None else read_input(name, spec, text)}


def read_input(name: str, spec: Input, text: str) -> JsonValue:
    """Read a value from text, as its type has it on a command line; whether it is allowed says `check_input`.

    Raises:
        PlanError: it is no value of the type.
    """
    match spec.type:
        case InputType.STRING | InputType.DURATION | InputType.SECRET:
            return text
        case InputType.INTEGER:
            if re.fullmatch(r"[-+]?[0-9]{1,16}", text):
                return int(text)
            raise PlanError(f"{name}: {text!r} must be an integer")
        case InputType.BOOLEAN:
            if text.lower() in _WORDS:
                return _WORDS[text.lower()]
            raise PlanError(f"{name}: {text!r} must be true or false")
        case InputType.LIST:
            return [part.strip() for part in text.split(",") if part.strip()]
        case _:
            assert_never(spec.type)


def _text(spec: Input, value: JsonValue) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} must be a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} characters")
    if "\0" in value:
        raise ValueError("must not have a NUL character")
    if not _is_utf8(value):
        raise ValueError("is not UTF-8")
    if spec.choices and value not in spec.choices:
        raise ValueError(f"{value!r} is not one of {', '.join(spec.choices)}")
    if spec.pattern is not None and not _fits(spec.pattern, value):
        raise ValueError(f"{value!r} does not fit the pattern {spec.pattern}")
    return value


def _is_utf8(text: str) -> bool:
    """Tell apart what Python makes of other bytes on a command line, or of half a pair of escapes in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fits(pattern: str, value: str) -> bool:
    try:
        return fits(pattern, value)
    except ExpressionError as exc:
        raise ValueError(exc.message) from exc


def _integer(spec: Input, value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_INTEGER:
        raise ValueError(f"{value!r} must be an integer")
    if spec.minimum is not None and value < spec.minimum:
        raise ValueError(f"{value} must be at least {spec.minimum}")
    if spec.maximum is not None and value > spec.maximum:
        raise ValueError(f"{value} must be at most {spec.maximum}")
    return value


def _list(spec: Input, value: JsonValue) -> JsonValue:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} must be a list")
    if spec.minimum is not None and len(value) < spec.minimum:
        raise ValueError(f"needs at least {spec.minimum} items")
    if spec.maximum is not None and len(value) > spec.maximum:
        raise ValueError(f"has more than {spec.maximum} items")
    return [_text(spec, item) for item in value]


def _reference(value: JsonValue) -> str:
    if isinstance(value, dict) and set(value) == {"secret"}:
        value = value["secret"]
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        # The value itself is not shown: it may be the secret.
        hint = suggest_reference(value) if isinstance(value, str) else ""
        meant = f" ({hint})" if hint else ""
        raise ValueError(f"a secret is never given as a value; write {ALLOWED}{meant}")
    if not _is_utf8(value):
        raise ValueError("is not UTF-8")
    return value


def _json(value: Json) -> JsonValue:
    plain: JsonValue = json.loads(json.dumps(value))
    return plain


def _asked_for(name: str, spec: Input) -> str:
    form = {InputType.SECRET: "env:NAME", InputType.LIST: "a,b"}.get(spec.type, f"<{spec.type}>")
    return f"give {name}={form}" + (f": {spec.help}" if spec.help else "")
