"""Writes the reference pages that the program itself knows best, so that they cannot say anything else.

deploy/bin/write-docs            writes docs/reference/{api,cli,errors,kinds,exports,actions}.md, connectors/README.md, and
                                 the tables of docs/explanation/semantics.md
deploy/bin/write-docs --check    says which of them differ, and ends with 1 if one does
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mimrun import errors
from mimrun.catalog import Catalog, installed_catalog
from mimrun.connector import Action, AnyConnector, Connector, Effect
from mimrun.errors import MimrunError
from mimrun.log.kinds import BODIES, Kind
from mimrun.runbook import bounds

ROOT: Final = Path(__file__).resolve().parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
_NOTE: Final = "<!-- Written by `make docs` from {}; do not edit. -->\n"

WHAT_NOW: Final[Mapping[str, str]] = {
    "MimrunError": "Read the sentence; it says what to do next.",
    "InputError": "Mend what is named, and type the command again.",
    "RunbookError": "Mend the runbook; `mimrun runbook lint FILE` says everything that is wrong at once.",
    "ExpressionError": "Mend the expression or template; the message shows it.",
    "UndefinedName": "Give the input, mend the name, or write `default(...)`.",
    "InventoryError": "Mend the inventory or the pattern; `mimrun inventory hosts PATTERN` tries it out.",
    "PlanError": "Give other inputs, another inventory, or mend the runbook.",
    "AlertTooLargeError": "Let less be sent at once, for example with Alertmanager's `max_alerts`.",
    "AlertTypeError": "Send the content type that the message names, without compression.",
    "SettingsError": "Mend the variable or file that is named; `mimrun doctor` looks at all of them.",
    "RefusedError": "It is not allowed now. `mimrun status` shows who can go on, and how.",
    "GateError": "Another person decides, or look again at what would run: it may have changed.",
    "SignInError": "Sign in again with `mimrun login`, give another token, or ask whoever made it; the message says which.",
    "NotSignedInError": "Sign in: in the browser, or with another token.",
    "ChooseAnotherError": "Choose a password of your own; an administrator made the one that you have.",
    "TooManyGuessesError": "Wait a minute, then try again; `mimrun password set` at the command line sets another.",
    "LeaseError": "Follow the process that has the run: `mimrun status RUN --follow`.",
    "LockError": "`mimrun locks` says which run holds it and what to do; `--wait-for-locks 10m` waits for it.",
    "KillSwitchError": "`mimrun kill-switch show` says who pulled it and why; two people lift it.",
    "BreakerError": "Look at the runs that failed, then `mimrun breaker close RUNBOOK --reason ...`.",
    "AlertAuthError": "See `alerts.yaml` and the secret that the sender has; docs/how-to/take-alerts-in.md shows both sides.",
    "IntakeClosedError": "Mend what the message names; `mimrun alert lint` looks at alerts.yaml and its secrets.",
    "ErasedError": "Do without it: `mimrun log show` has the entry that says who erased it and why.",
    "LogError": "Nothing more is done without a log. Keep the file as it is, and look with `mimrun log verify`.",
    "StoreError": "See that the disk has room and that the file may be written; then `mimrun resume RUN`.",
    "BlobKeyError": "Put the key back where the message says. Until then entries can be read and verified.",
    "TamperError": "Keep the file and do not repair it: `mimrun log verify` names the entry that is wrong.",
    "RunError": "`mimrun status RUN` shows where the run stands and what goes on from there.",
    "LabError": "`mimrun doctor` and the message say which part is missing on this machine.",
    "ConnectorError": "Nothing: it is turned into the outcome of a step.",
    "Unreachable": "See that the target is up and can be reached; the step provably did nothing.",
    "Refused": "See to the login, host key or permission; the step provably did nothing.",
    "LostAnswer": "The step is probed, repeated or in doubt, by its effect class.",
}
"""What a person does about an error, by the name of its class."""


def errors_page() -> str:
    """Give the page of errors: the tree as it is drawn in the code, and a row for each class."""
    drawn = (errors.__doc__ or "").split("\n\n")
    tree = next(part for part in drawn if "└──" in part)
    rows = [
        f"| `{kind.__name__}` | {kind.exit_code} | {_sentence(kind)} | {WHAT_NOW[kind.__name__]} |"
        for kind in _tree(MimrunError)
    ]
    return _page(
        "Errors",
        "`mimrun/errors.py`",
        "Everything that mimrun refuses or cannot do on purpose is one of these. A message says what, where and"
        " what next.\nWith `--json` an error is an object with `error`, `kind` (the name below), `exit_code` and"
        " `problems`: a list of\n`file`, `line`, `column`, `message` and `hint`. Anything else that shows a"
        " traceback is a bug.\n\nWhat the exit codes mean is on the page [exit codes](exit-codes.md).",
        "```text\n" + "\n".join(line[4:] for line in tree.splitlines()) + "\n```",
        "| Error | Exit | Meaning | What to do |\n|---|---|---|---|\n" + "\n".join(rows),
    )


def kinds_page() -> str:
    """Give the page of log entries: every kind, and what the body of each says."""
    return _page(
        "Kinds of log entries",
        "`mimrun/log/kinds.py`",
        "The list is closed: an entry of a kind that a version does not know is refused. How entries are written,"
        " linked and\nverified is on the page [log format](log-format.md). Every body with a target has"
        " `iteration`, 0 outside of a loop.\nBlobs hold what may be long or personal; the entry only commits to"
        " them.",
        *(_kind(kind) for kind in Kind),
    )


def exports_page() -> str:
    """Give the page of export formats, with the tables that the code knows."""
    tables, text = _beside("exports"), (ROOT / "deploy" / "docs" / "exports.txt").read_text("utf-8")
    for name in ("columns", "severities", "classes"):
        text = text.replace(f"<{name}>", getattr(tables, name)())
    title, _, rest = text.partition("\n\n")
    return _page(title.removeprefix("# "), "`mimrun/log/export` and `deploy/docs/exports.txt`", rest.strip())


def actions_page(catalog: Catalog) -> str:
    """Give the page of actions: every field of every action, as the schema of the language has it."""
    parts = [_action(name, action) for name in catalog.names for action in catalog.connector(name).actions]
    return _page(
        "Actions",
        "the installed connectors",
        "Every action and every field, in the words that editors show through `mimrun schema`. What an action"
        " answers, which\noutcomes it has and which inventory variables it reads is on the page of its"
        " [connector](connectors/README.md).",
        *parts,
    )


def connectors_page(catalog: Catalog) -> str:
    """Give the index of connectors: their actions, effect classes and abilities."""
    return _page(
        "Connectors",
        "the installed connectors",
        "A connector does things on one kind of outside system. Each action declares the weakest effect class"
        " that it can honour;\nthe class says what a crash or a lost answer means:",
        "| Effect | After a crash or a lost answer |\n|---|---|\n"
        "| `read` | run again: it changes nothing |\n"
        "| `idempotent` | run again with the same arguments and key |\n"
        "| `probe` | the target is asked whether it happened; in doubt only when it cannot tell |\n"
        "| `once` | in doubt, always: a person says what happened |",
        "*Probe*: it can look on the target whether an action happened. *Check*: it can compare an action with"
        " the target without\nchanging it; `mimrun plan --check` asks for that. What each action can tell is on its"
        " page. Every field of every action is on\nthe page [actions](../actions.md); `mimrun doctor` shows"
        " what is installed on a machine.",
        *(_connector(catalog.connector(name)) for name in catalog.names),
        "A connector of your own is one class and an entry point:"
        " [CONTRIBUTING](../../../CONTRIBUTING.md#adding-a-connector-three-places).",
    )


def api_page() -> str:
    """Give the page of the API: every operation, as its OpenAPI description has it."""
    return _page(
        "API",
        "the API's own description",
        "Everything that the console does a program can do: `mimrun serve` answers at `/api/v1`, and describes itself as"
        " OpenAPI 3.1 at\n`/api/v1/openapi.json`. How to begin is in [run the server](../how-to/run-the-server.md#speak-with-the-api).",
        "- A program signs in with a [token](tokens.md): `Authorization: Bearer mimrun_…`. Each operation says which scope it"
        " needs.\n- A thing is named whole in a path: no beginning of a name, and no `latest`.\n- What is launched,"
        " approved or rejected is named by the digest of what was looked at; with another one nothing is done.\n- Lists come in"
        " pages. `next` is asked for as `after` where the oldest comes first, as `before` where the newest does; it is null at the"
        " end.\n- What creates something takes an `Idempotency-Key`, 16 characters or more that are made at random: asked again"
        " with the same key, nothing is done twice. For runs that holds for ever, for everything else for a day and this server."
        "\n- What was not done is explained as [Problem](#problem), `application/problem+json` (RFC 9457): 400 what was asked for is"
        " wrong, 401 nobody has signed in, 403 it is not theirs to do, 404 there is no such thing, 409 not as things stand, 422 it has"
        " not the form that is described, 429 too often, 503 the log cannot be written.",
        *_beside("api").api_parts(),
    )


def cli_page() -> str:
    """Give the page of commands: every option and argument, in the words of `--help`."""
    return _page("Commands", "the commands' own help", *_beside("commands").cli_parts())


def semantics_page() -> str:
    """Give the page of semantics as it is, with its tables of what can follow what written anew."""
    text: str = _beside("transitions").put_in((ROOT / "docs/explanation/semantics.md").read_text("utf-8"))
    return text


def _beside(name: str) -> ModuleType:
    """Import a module that lies beside this one, which is a program and no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tree(kind: type[MimrunError]) -> Iterator[type[MimrunError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ in (errors.__name__, bounds.__name__):
            yield from _tree(below)


def _kind(kind: Kind) -> str:
    body = BODIES[kind]
    schema = body.model_json_schema()
    fields = [
        f"| `{name}` | {_type(spec, schema)} |"
        for name, spec in schema.get("properties", {}).items()
        if name != "iteration"
    ]
    table = "\n\n| Field | |\n|---|---|\n" + "\n".join(fields) if fields else "\n\nThe body is empty."
    blobs = ", ".join(f"`{name}`" for name in sorted(body.blobs))
    return f"## {kind.value}\n\n{_sentence(body)}{table}" + (f"\n\nBlobs: {blobs}." if blobs else "")


def _action(name: str, action: type[Action]) -> str:
    schema = action.model_json_schema(by_alias=True)
    fields = [
        f"| `{field}` | {_type(spec, schema)} | {_default(field, spec, schema)} | {_cell(spec['description'])} |"
        for field, spec in schema.get("properties", {}).items()
    ]
    table = "| Field | Type | Without it | Meaning |\n|---|---|---|---|\n" + "\n".join(fields)
    return f"## {name}.{action.verb}\n\n{_cell(_sentence(action))} Effect: {_effect(action)}.\n\n" + (
        table if fields else "No fields."
    )


def _connector(connector: type[AnyConnector]) -> str:
    rows = [
        f"| [`{connector.name}.{a.verb}`](../actions.md#{connector.name}{a.verb}) | {_effect(a)} |"
        f" {_cell(_sentence(a))} |"
        for a in connector.actions
    ]
    probes = connector._probe is not Connector._probe  # noqa: SLF001 - the page says who has one of its own
    checks = connector._check is not Connector._check  # noqa: SLF001 - likewise
    keywords = ", ".join(f"`{word}`" for word in sorted(connector.keywords)) or "none"
    return (
        f"## [{connector.name}]({connector.name}.md)\n\n{_cell(_sentence(connector))} Probe:"
        f" {'yes' if probes else 'no'}. Check: {'yes' if checks else 'no'}. Step keywords: {keywords}.\n\n"
        "| Action | Effect | What it does |\n|---|---|---|\n" + "\n".join(rows)
    )


def _effect(action: type[Action]) -> str:
    by_arguments = action.effect_class is not Action.effect_class
    weakest = f"`{Effect(action.effect).value}`"
    return f"{weakest}, or better by its arguments" if by_arguments else weakest


def _default(field: str, spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if field in schema.get("required", []):
        return "required"
    default = spec.get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default)}`"


_WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "",
    "number": "number",
}


def _type(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Say a JSON Schema type in words."""
    match spec:
        case {"$ref": str(ref)}:
            return _type(schema["$defs"][ref.rpartition("/")[2]], schema)
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"anyOf": list(choices)}:
            return " or ".join(word for choice in choices if (word := _type(choice, schema)))
        case {"type": "array", **rest}:
            return "list" + (f" of {_type(rest['items'], schema)}" if "items" in rest else "")
        case {"type": "object", **rest}:
            return _mapping(rest, schema)
        case _:
            return _WORDS[spec["type"]] if "type" in spec else "anything"


def _mapping(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "properties" in spec:
        return "mapping of " + ", ".join(f"`{name}`" for name in spec["properties"])
    values = spec.get("additionalProperties")
    return f"mapping to {_type(values, schema)}" if isinstance(values, dict) and values else "mapping"


def _sentence(thing: type) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((thing.__doc__ or "").partition("\n\n")[0].split())
    return text if text.endswith(".") else text + "."


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def _page(title: str, source: str, *parts: str) -> str:
    return "\n\n".join([_NOTE.format(source) + f"# {title}", *parts]) + "\n"


def pages() -> Mapping[Path, str]:
    """Give every generated page by its path."""
    catalog = installed_catalog()
    made: Mapping[str, Callable[[], str]] = {
        "errors.md": errors_page,
        "kinds.md": kinds_page,
        "exports.md": exports_page,
        "actions.md": lambda: actions_page(catalog),
        "api.md": api_page,
        "cli.md": cli_page,
        "../explanation/semantics.md": semantics_page,
        "connectors/README.md": lambda: connectors_page(catalog),
    }
    return {(REFERENCE / name).resolve(): make() for name, make in made.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check only say which differ."""
    differ = [p for p, text in pages().items() if not p.exists() or p.read_text("utf-8") != text]
    for path in differ:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if "--check" in arguments:
        return 1 if differ else 0
    for path in differ:
        path.write_text(pages()[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
