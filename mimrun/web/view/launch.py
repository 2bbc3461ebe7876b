"""The form to launch a runbook with, made from its inputs; and what was typed into it, as values for a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mimrun.errors import InputError, Problem
from mimrun.runbook.inputs import PLACE
from mimrun.runbook.model import Input, InputType, Runbook

INPUT: Final = "in."
"""What the name of a field begins with that is an input."""
_LONG: Final = 60


@dataclass(frozen=True, slots=True)
class InputField:
    """A field of the form.

    Arguments:
        kind: `text`, `area`, `number`, `select`, `many`, `box` or `secret`.
        value: what is in it; of a secret never anything.
        chosen: of `many`, what is ticked.
        wrong: what is wrong with what was typed, or "".
    """

    name: str
    kind: str
    needed: bool
    help: str
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    chosen: frozenset[str] = frozenset()
    limits: tuple[tuple[str, str], ...] = ()
    wrong: str = ""

    @property
    def label(self) -> str:
        """What stands above it."""
        return self.name if self.needed else f"{self.name} (optional)"


def fields_of(
    runbook: Runbook, typed: Mapping[str, str] | None = None, problems: Iterable[Problem] = ()
) -> tuple[InputField, ...]:
    """Give the fields for a runbook's inputs.

    Arguments:
        typed: the fields as they were sent, by the names of the form; None for a form that is new.
        problems: what is wrong with them.
    """
    wrong = {
        name: text for problem in problems if (name := _about(runbook, problem)) and (text := _text(problem))
    }
    return tuple(_field(name, spec, typed, wrong.get(name, "")) for name, spec in runbook.inputs.items())


def other_problems(runbook: Runbook, error: InputError) -> list[str]:
    """Give what is wrong besides the inputs, a line each."""
    if not error.problems:
        return str(error).splitlines()
    return [str(problem) for problem in error.problems if not _about(runbook, problem)]


def values_of(runbook: Runbook, typed: Mapping[str, str]) -> dict[str, JsonValue]:
    """Give what was typed as values: text as the type has it on a command line, lists as lists.

    Arguments:
        typed: the fields, by the names of the form; "" leaves an input out.
    """
    values: dict[str, JsonValue] = {}
    for name, spec in runbook.inputs.items():
        if spec.type is InputType.BOOLEAN and _is_box(spec):
            values[name] = "true" if typed.get(f"{INPUT}{name}") else "false"
        elif spec.type is InputType.LIST:
            items = _items(name, spec, typed)
            if items or not spec.required:
                values[name] = [*items] if items else ""
        elif text := typed.get(f"{INPUT}{name}", ""):
            values[name] = text if spec.type is InputType.STRING else text.strip()
    return {name: value for name, value in values.items() if value != ""}


def fields_kept(runbook: Runbook, typed: Mapping[str, str]) -> dict[str, str]:
    """Give the fields that belong to the runbook's inputs, to be sent once more with a plan that was made of them."""
    names = {f"{INPUT}{name}" for name in runbook.inputs}
    return {name: text for name, text in typed.items() if name in names or name.rpartition("=")[0] in names}


def _items(name: str, spec: Input, typed: Mapping[str, str]) -> Sequence[str]:
    if spec.choices:
        return [choice for choice in spec.choices if typed.get(f"{INPUT}{name}={choice}")]
    return [line.strip() for line in typed.get(f"{INPUT}{name}", "").splitlines() if line.strip()]


def _is_box(spec: Input) -> bool:
    """Say whether yes and no are all that there is; else the input can be left out as well."""
    return spec.required or spec.default is not None


def _field(name: str, spec: Input, typed: Mapping[str, str] | None, wrong: str) -> InputField:
    given = None if typed is None else typed.get(f"{INPUT}{name}", "")
    value = _default(spec) if given is None else given
    needed = spec.required and spec.default is None
    kind, limits = _kind(spec, value)
    choices: tuple[tuple[str, str], ...] = ()
    chosen: frozenset[str] = frozenset()
    if kind == "select":
        words = ("true", "false") if spec.type is InputType.BOOLEAN else spec.choices
        left_out = () if spec.default is not None else (("", "-"),)
        choices = (*left_out, *((one, one) for one in words))
    elif kind == "many":
        choices = tuple((one, one) for one in spec.choices)
        ticked = _items(name, spec, typed) if typed is not None else spec.default or ()
        chosen = frozenset(str(one) for one in ticked) if isinstance(ticked, Sequence) else frozenset()
    if kind == "box" and given is None:
        value = "true" if spec.default is True else ""
    shown = "" if kind == "secret" else value
    return InputField(name, kind, needed, _help(spec), shown, choices, chosen, limits, wrong)


def _kind(spec: Input, value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    match spec.type:
        case InputType.BOOLEAN:
            return ("box" if _is_box(spec) else "select"), ()
        case InputType.INTEGER:
            bounds = (("min", spec.minimum), ("max", spec.maximum))
            return "number", tuple((name, str(bound)) for name, bound in bounds if bound is not None)
        case InputType.SECRET:
            return "secret", ()
        case InputType.LIST:
            return ("many" if spec.choices else "area"), ()
        case _ if spec.choices:
            return "select", ()
        case _:
            return ("area" if "\n" in value or len(value) > _LONG else "text"), ()


def _default(spec: Input) -> str:
    match spec.default:
        case None:
            return ""
        case bool() as flag:
            return "true" if flag else "false"
        case list() as items:
            return "\n".join(str(item) for item in items)
        case dict():
            return ""  # where a secret comes from, which the runbook says itself
        case other:
            return str(other)


def _help(spec: Input) -> str:
    said = [spec.help.rstrip(".")] if spec.help else []
    if spec.pattern:
        said.append(f"fits {spec.pattern}")
    if spec.type is InputType.DURATION:
        said.append("such as 30s, 5m or 1h30m")
    if spec.type is InputType.LIST and not spec.choices:
        said.append("one on each line")
    if spec.type is InputType.LIST and spec.minimum is not None:
        said.append(f"at least {spec.minimum}")
    if spec.type is InputType.LIST and spec.maximum is not None:
        said.append(f"at most {spec.maximum}")
    if spec.type is InputType.SECRET:
        kept = "; left empty, it is the one that the runbook names" if spec.default is not None else ""
        said.append(f"where the secret is, such as vault:MOUNT/PATH#FIELD, and never the secret itself{kept}")
    return "; ".join(said)


def _about(runbook: Runbook, problem: Problem) -> str:
    """Give the input that a problem is about; "" where it is about none."""
    if problem.file != PLACE:
        return ""
    named = (name for name in runbook.inputs if problem.message.startswith((f"{name}:", f"{name} ")))
    return next(named, "")


def _text(problem: Problem) -> str:
    return problem.message.partition(": ")[2] or problem.message
