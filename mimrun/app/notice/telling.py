"""Notices: telling people what waits for them and what was decided, once for each channel, on the record.

What is told follows from the log alone: what runs wait for now, and what was recorded since somebody was told
last. So nothing is lost when no process was there, and of several processes one tells: whoever's
`notice.sending` the log takes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mimrun.app.append import append_unless
from mimrun.app.home import Home
from mimrun.app.notice.channel import send
from mimrun.app.notice.event import REMINDERS, TELLING, TRIES, Notice, NoticeEvent, due_event, notice_of
from mimrun.app.notice.file import Channel, NoticeRules, Telling, load_notices
from mimrun.app.notice.text import facts_of
from mimrun.errors import MimrunError
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.field import clean_text
from mimrun.log.kinds import Kind, NoticeSending, NoticeSent
from mimrun.run.record.notices import Notices, Told, told_key
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import RunStatus
from mimrun.runbook.expression import render
from mimrun.secret import read_secret

TELLER: Final = Actor("system", "notices", "notices")
"""Who tells people, for the log."""
_LOOK_BACK: Final = 1000
_ASKS: Final[Mapping[str, Kind]] = {
    "gate": Kind.GATE_REQUESTED,
    "manual": Kind.MANUAL_REQUESTED,
    "doubt": Kind.STEP_IN_DOUBT,
}


@dataclass(frozen=True, slots=True)
class Message:
    """What one audience is told over one channel.

    Arguments:
        event: what it is told as: the event itself, or a reminder of it.
        people: whom a channel writes to that writes to each.
        before: what was known of it when this was found to be due.
    """

    notice: Notice
    event: NoticeEvent
    telling: Telling
    channel: str
    title: str
    text: str
    people: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    before: bytes = b""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a message; `reason` says why it was not taken."""

    message: Message
    done: bool
    reason: str = ""


@dataclass(slots=True)
class Watcher:
    """Finds what people are to be told. It remembers up to where it has read, and that alone.

    Arguments:
        cursor: the entry up to which everything was looked at; -1 before the first look.
        asked: what each waiting run asks for, by run, with the run's last entry when that was read.
    """

    cursor: int = -1
    asked: dict[str, tuple[int, Notice | None]] = field(default_factory=dict)
    open: dict[int, Notice] = field(default_factory=dict)

    def due(self, home: Home, rules: NoticeRules, now: datetime) -> list[Message]:
        """Give every message that is to be sent now.

        Raises:
            LogError: the log cannot be read.
        """
        messages = []
        for notice in self._notices(home):
            still = False
            for way in _ways(rules, notice):
                telling, name = way
                before = home.store.projection(Notices.name, told_key(notice.about, telling.tell, name))
                told = Told.decode(before)
                event = due_event(notice, told, remind_s=(telling.remind or notice.remind_ms) / 1000, now=now)
                still = still or notice.event.value not in told.events
                if event is not None:
                    messages.append(replace(_message(home, rules, notice, event, way), before=before))
            if not still:
                self.open.pop(notice.about, None)
        return messages

    def _notices(self, home: Home) -> Iterator[Notice]:
        """Give what runs wait for, and what was recorded since; what was told completely is forgotten."""
        waiting = {notice.about: notice for notice in self._waiting(home)}
        if self.cursor < 0:
            self.cursor = _last_told(home) or _since_there_are_rules(home)
        for entry in home.store.entries(after=self.cursor, kinds=TELLING):
            self.cursor = entry.seq
            notice = notice_of(entry)
            if notice is not None and notice.event not in REMINDERS:
                self.open[entry.seq] = notice
        yield from waiting.values()
        yield from list(self.open.values())

    def _waiting(self, home: Home) -> Iterator[Notice]:
        before, self.asked = self.asked, {}
        for _, state in home.store.projections(RunSummaries.name):
            summary = RunSummary.decode(state)
            if summary.status not in (RunStatus.WAITING, RunStatus.IN_DOUBT) or not summary.run:
                continue
            known = before.get(summary.run)
            if known is None or known[0] != summary.last_seq:
                known = (summary.last_seq, _asked_for(home, summary))
            self.asked[summary.run] = known
            if known[1] is not None:
                yield known[1]


def send_due(home: Home, watcher: Watcher | None = None) -> list[Sent]:
    """Tell people everything that they are to be told now, and record what came of it.

    Arguments:
        watcher: what was looked at before; a process that does not stay needs none.

    Raises:
        SettingsError: `notices.yaml` cannot be read.
        LogError: the log cannot be read or written.
    """
    rules = load_notices(home.settings.notices)
    if not rules.notices:
        return []
    found = (watcher or Watcher()).due(home, rules, home.clock())
    return [sent for message in found if (sent := _send(home, rules, message)) is not None]


def _asked_for(home: Home, summary: RunSummary) -> Notice | None:
    kind = _ASKS.get(summary.waits_on, Kind.STEP_IN_DOUBT if summary.status is RunStatus.IN_DOUBT else None)
    if kind is None:
        return None
    kinds = {kind, Kind.GATE_ESCALATED} if kind is Kind.GATE_REQUESTED else {kind}
    last = None
    for entry in home.store.entries(run=summary.run, kinds=kinds):
        last = entry
    return notice_of(last) if last is not None else None


def _last_told(home: Home) -> int:
    """Give the entry behind which to look: in front of the first that somebody did not hear of yet."""
    told = [Told.decode(state) for _, state in home.store.projections(Notices.name)]
    open_ = [one.about for one in told if one.sending or 0 < one.failures < TRIES]
    return min(open_) - 1 if open_ else max((one.about for one in told), default=0)


def _since_there_are_rules(home: Home) -> int:
    """Give the entry behind which to look where nobody was ever told: what is older than the rules is not told."""
    size, written = home.store.head().size, home.settings.notices.stat().st_mtime
    for entry in home.store.entries(after=max(0, size - _LOOK_BACK), kinds=TELLING):
        if entry.ts.timestamp() >= written:
            return entry.seq - 1
    return size


def _ways(rules: NoticeRules, notice: Notice) -> Iterator[tuple[Telling, str]]:
    for telling in rules.notices:
        wanted = notice.event in telling.of
        if wanted and (not telling.roles or not notice.roles or set(telling.roles) & set(notice.roles)):
            yield from ((telling, name) for name in telling.over)


def _message(
    home: Home, rules: NoticeRules, notice: Notice, event: NoticeEvent, way: tuple[Telling, str]
) -> Message:
    telling, name = way
    words, facts = rules.words(telling.tell, event), facts_of(notice, event, rules.link)
    title = clean_text(" ".join(str(render(words.title, facts)).split()), 200)
    lines = [line.rstrip() for line in str(render(words.text, facts)).splitlines()]
    text = clean_text("\n".join(line for line in lines if line), 4000)
    people = _people(home, rules.channels[name], notice, telling)
    return Message(notice, event, telling, name, title, text, tuple(people), tuple(people.values()))


def _people(home: Home, channel: Channel, notice: Notice, telling: Telling) -> dict[str, str]:
    """Give the people whom a channel writes to one by one, with their addresses."""
    if not channel.each:
        return {}
    roles = set(telling.roles or notice.roles)
    people = home.people().by_id.values()
    return {person.id: person.email for person in people if person.email and roles & person.roles}


def _send(home: Home, rules: NoticeRules, message: Message) -> Sent | None:
    """Record that somebody is told next, tell them, and record what came of it.

    1. The log takes the first process that wants to tell this; another one finds that it is being told.
    2. Only then the channel is used.
    3. What came of it is recorded; if this process dies before, the next one tries again after a while.
    """
    notice, told = message.notice, message.telling.tell
    key = told_key(notice.about, told, message.channel)
    body = NoticeSending(
        about=notice.about,
        event=message.event,
        channel=message.channel,
        audience=told,
        people=message.people,
    )
    # No entry of the run: what people are told changes nothing for whoever is about to decide.
    blobs = (Blob("text", f"{message.title}\n\n{message.text}".encode(), "text"),)
    draft = Draft(TELLER, body, inc=notice.incident, blobs=blobs)
    begun = append_unless(home, [draft], lambda view: view.projection(Notices.name, key) != message.before)
    if not begun:
        return None
    done, reason = True, ""
    try:
        address = read_secret(rules.channels[message.channel].url)
        send(address, message.title, message.text, emails=message.emails)
    except MimrunError as exc:
        done, reason = False, str(exc)
    end = NoticeSent(
        about=notice.about,
        event=message.event,
        channel=message.channel,
        audience=told,
        sending=begun[0].seq,
        done=done,
        reason=reason,
    )
    home.store.append([Draft(TELLER, end, inc=notice.incident)])
    return Sent(message, done, reason)
