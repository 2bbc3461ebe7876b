"""The file `notices.yaml`: who is told what, over which channel, and in which words; read strictly.

link: https://mimrun.example.org
channels:
  chat: {url: env:MIMRUN_CHAT_URL}
  mail: {url: file:/etc/mimrun/mail.url, each: true}
notices:
  - {tell: approvers, over: [chat, mail], of: [gate_reached, gate_escalated], remind: 10m}
  - {tell: responders, over: [chat], of: [gate_decided, in_doubt, manual_asked, run_ended]}
texts:
  approvers:
    gate_reached: {title: "{{ run }} needs you", text: "{{ title }}: {{ next }}"}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, ValidationError

from mimrun.app.notice.event import REMINDERS, NoticeEvent
from mimrun.app.notice.text import FACTS, PLAIN, TEXTS, TITLES
from mimrun.errors import Problem, SettingsError
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.duration import Duration
from mimrun.runbook.model import Identifier, Part, Slug
from mimrun.runbook.render import fill
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of
from mimrun.secret import parse_reference

Audience: TypeAlias = Literal["approvers", "responders", "managers"]

_EXAMPLE: Final[Mapping[str, JsonValue]] = dict.fromkeys(FACTS, "x")


class Channel(Part):
    """A way to people.

    Arguments:
        url: a reference to a secret that holds an Apprise address; `{email}` in it is each person's own.
    """

    url: str = Field(
        description="A reference to a secret with an Apprise address, such as env:MIMRUN_CHAT_URL."
    )
    each: bool = Field(False, description="One message to each person; `{email}` in the address is theirs.")


class Telling(Part):
    """Who is told of what."""

    tell: Audience = Field(description="In whose words: approvers, responders or managers.")
    over: tuple[Slug, ...] = Field(min_length=1, description="Names of channels.")
    of: tuple[NoticeEvent, ...] = Field(min_length=1, description="What they are told of.")
    roles: tuple[Identifier, ...] = Field(
        (),
        description="Only of what asks for one of these roles; a channel with `each` writes to their holders.",
    )
    remind: Duration = Field(
        0, description="After so long they are told again, until it is done; 0s is never."
    )


class Words(Part):
    """A title and a text, as templates."""

    title: str = Field("", max_length=200, description="One line; the usual one where left out.")
    text: str = Field("", max_length=4000, description="The message; the usual one where left out.")


class NoticeRules(Part):
    """What `notices.yaml` says."""

    link: str = Field("", description="The address of the console, for links; they name a run, and nobody.")
    channels: dict[Slug, Channel] = Field({}, description="Ways to people, by name.")
    notices: tuple[Telling, ...] = Field((), description="Who is told what.")
    texts: dict[Audience, dict[NoticeEvent, Words]] = Field(
        {}, description="Other words, by audience and event."
    )

    def words(self, audience: Audience, event: NoticeEvent) -> Words:
        """Give title and text for an audience, where nothing else is said the usual ones."""
        own = self.texts.get(audience, {}).get(event, Words.model_construct(title="", text=""))
        usual = PLAIN[event] if audience == "managers" else TEXTS[event]
        return Words.model_construct(title=own.title or TITLES[event], text=own.text or usual)


NOBODY: Final = NoticeRules.model_validate({})
"""Nobody is told anything."""


def load_notices(path: Path) -> NoticeRules:
    """Read the file; nobody is told anything where it is not there.

    Raises:
        SettingsError: it is not what it should be; every problem is named with its place.
    """
    if not path.exists():
        return NOBODY
    return parse_notices(load_document(path, error=SettingsError))


def parse_notices(document: Document) -> NoticeRules:
    """Make the rules of a document.

    Raises:
        SettingsError: as for `load_notices`.
    """
    try:
        rules = NoticeRules.model_validate(document.value)
    except ValidationError as exc:
        raise SettingsError(problems=problems_of(exc, document, (), NoticeRules)) from exc
    problems = [*_link(rules, document), *_channels(rules, document), *_tellings(rules, document)]
    problems += _texts(rules, document)
    if problems:
        raise SettingsError(problems=problems)
    return rules


def _link(rules: NoticeRules, document: Document) -> list[Problem]:
    parts = urlsplit(rules.link)
    if not rules.link or (
        parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.username)
    ):
        return []
    return [document.problem(("link",), "link: write https://HOST, without a user and without ?")]


def _channels(rules: NoticeRules, document: Document) -> list[Problem]:
    problems = []
    for name, channel in rules.channels.items():
        try:
            parse_reference(channel.url)
        except SettingsError:
            # The value may be the address itself, with a password in it: it is not repeated.
            message = "url is a reference to a secret that holds the address, and not the address itself"
            hint = "write it into a file and say file:/PATH, or env:NAME, keyring:..., vault:..."
            problems.append(document.problem(("channels", name, "url"), message, hint))
    return problems


def _tellings(rules: NoticeRules, document: Document) -> list[Problem]:
    problems = []
    for number, telling in enumerate(rules.notices):
        where: ValuePath = ("notices", number)
        for at, name in enumerate(telling.over):
            if name not in rules.channels:
                message = f"there is no channel {name!r}"
                problems.append(
                    document.problem((*where, "over", at), message, suggest(name, rules.channels))
                )
            elif rules.channels[name].each and not telling.roles and telling.tell != "approvers":
                hint = "name them with `roles`, or use a channel that everybody reads"
                message = f"channel {name!r} writes to each person, and nothing says who they are"
                problems.append(document.problem((*where, "over", at), message, hint))
        if telling.remind and REMINDERS.keys().isdisjoint(telling.of):
            asked = ", ".join(event.value for event in REMINDERS)
            message = "nobody is reminded of what asks for nothing"
            problems.append(document.problem((*where, "remind"), message, f"remind goes with {asked}"))
    return problems


def _texts(rules: NoticeRules, document: Document) -> list[Problem]:
    problems = []
    for audience, by_event in rules.texts.items():
        for event, words in by_event.items():
            for key, text in (("title", words.title), ("text", words.text)):
                _, faults = fill(text, _EXAMPLE)
                where: ValuePath = ("texts", audience, event.value, key)
                problems += [document.problem(where, fault.message, fault.hint) for fault in faults]
    return problems
