"""The words of notices, for each audience: what mimrun says when `notices.yaml` says nothing else.

A text is rendered like a runbook's: facts are data, and are never rendered again. A link names a run and nobody:
whoever opens it signs in first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.app.notice.event import Notice, NoticeEvent

FACTS: Final = (
    "about",
    "decision",
    "digest",
    "incident",
    "link",
    "need",
    "next",
    "reason",
    "risk",
    "role",
    "run",
    "status",
    "step",
    "target",
    "title",
    "until",
    "who",
)
"""What a text may name; a fact that a notice does not have is an empty text."""

TITLES: Final[Mapping[NoticeEvent, str]] = {
    NoticeEvent.GATE_REACHED: "{{ run }} waits for your approval",
    NoticeEvent.GATE_REMINDER: "{{ run }} still waits for your approval",
    NoticeEvent.GATE_ESCALATED: "{{ run }}: nobody decided in time, now you can",
    NoticeEvent.GATE_DECIDED: "{{ run }}: {{ who }} {{ decision }}",
    NoticeEvent.GATE_CLOSED: "{{ run }}: the gate is closed, {{ decision }}",
    NoticeEvent.IN_DOUBT: "{{ run }}: a step is in doubt",
    NoticeEvent.DOUBT_REMINDER: "{{ run }}: a step is still in doubt",
    NoticeEvent.MANUAL_ASKED: "{{ run }}: something is to be done by hand",
    NoticeEvent.MANUAL_REMINDER: "{{ run }}: something is still to be done by hand",
    NoticeEvent.BREAKGLASS: "BREAK-GLASS: {{ run }}",
    NoticeEvent.KILLSWITCH: "KILL SWITCH: everything stands still",
    NoticeEvent.RUN_ENDED: "{{ run }} {{ status }}",
    NoticeEvent.RULE_FIRED: "{{ title }} {{ decision }}: {{ target }}",
    NoticeEvent.PROPOSED: "{{ who }} proposes: {{ title }}",
    NoticeEvent.STORM: "STORM OF ALERTS: rules launch nothing",
    NoticeEvent.RULES_REFUSED: "A file of rules is refused",
}

_ASK: Final = (
    "{{ title }} (risk {{ risk }}, {{ incident }})\nneeds: {{ need }}\nuntil: {{ until }}\n{{ reason }}\n"
    "what would run: {{ digest }}\nLook at it and decide: {{ next }}"
)
_DOUBT: Final = (
    "Step {{ step }} on {{ target }}: {{ reason }}\nA person must say what became of it: {{ next }}"
)
_MANUAL: Final = "Step {{ step }} is for {{ need }}. Read it and sign it: {{ next }}"

TEXTS: Final[Mapping[NoticeEvent, str]] = {
    NoticeEvent.GATE_REACHED: _ASK,
    NoticeEvent.GATE_REMINDER: _ASK,
    NoticeEvent.GATE_ESCALATED: "Also {{ need }} may decide now.\nLook at it and decide: {{ next }}",
    NoticeEvent.GATE_DECIDED: "{{ who }} {{ decision }} as {{ role }}. {{ reason }}\n{{ next }}",
    NoticeEvent.GATE_CLOSED: "{{ reason }}\n{{ next }}",
    NoticeEvent.IN_DOUBT: _DOUBT,
    NoticeEvent.DOUBT_REMINDER: _DOUBT,
    NoticeEvent.MANUAL_ASKED: _MANUAL,
    NoticeEvent.MANUAL_REMINDER: _MANUAL,
    NoticeEvent.BREAKGLASS: "{{ who }} {{ decision }} past the gates of {{ run }} ({{ incident }}): {{ reason }}\n{{ next }}",
    NoticeEvent.KILLSWITCH: "{{ who }} stopped everything: {{ reason }}\nTwo people lift it: mimrun kill-switch lift",
    NoticeEvent.RUN_ENDED: "{{ title }}: {{ status }}. {{ reason }}\n{{ next }}",
    NoticeEvent.RULE_FIRED: "The rule {{ title }} {{ decision }} because of {{ need }} ({{ target }}). {{ reason }}\n{{ next }}",
    NoticeEvent.PROPOSED: (
        "{{ title }} (risk {{ risk }}, {{ incident }})\nuntil: {{ until }}\nwhat would run: {{ digest }}\n"
        "Look at it and launch it: {{ next }}"
    ),
    NoticeEvent.STORM: "{{ reason }}. Rules only propose now, in {{ incident }}. When it is over: {{ next }}",
    NoticeEvent.RULES_REFUSED: "{{ reason }}\n{{ next }}",
}

_PLAIN: Final = "Incident {{ incident }}, {{ title }}: {{ reason }}"
PLAIN: Final[Mapping[NoticeEvent, str]] = {
    NoticeEvent.GATE_REACHED: "Work on incident {{ incident }} waits for an approval by {{ need }} until {{ until }}.",
    NoticeEvent.GATE_REMINDER: "Work on incident {{ incident }} still waits for an approval by {{ need }}.",
    NoticeEvent.GATE_ESCALATED: "Work on incident {{ incident }} waits: nobody decided in time; {{ need }} is asked.",
    NoticeEvent.GATE_DECIDED: "Incident {{ incident }}: the next step was {{ decision }}. {{ reason }}",
    NoticeEvent.GATE_CLOSED: "Incident {{ incident }}: the next step was not allowed. {{ reason }}",
    NoticeEvent.IN_DOUBT: "Incident {{ incident }}: it is not known whether a step took effect; people are looking.",
    NoticeEvent.DOUBT_REMINDER: "Incident {{ incident }}: it is still not known whether a step took effect.",
    NoticeEvent.MANUAL_ASKED: "Incident {{ incident }}: {{ need }} is asked to do a step by hand.",
    NoticeEvent.MANUAL_REMINDER: "Incident {{ incident }}: a step by hand is still to be done by {{ need }}.",
    NoticeEvent.BREAKGLASS: "Incident {{ incident }}: {{ who }} {{ decision }} past the usual approvals. {{ reason }}",
    NoticeEvent.KILLSWITCH: "{{ who }} stopped all automation. {{ reason }}",
    NoticeEvent.RUN_ENDED: "Incident {{ incident }}: {{ title }} {{ status }}. {{ reason }}",
    NoticeEvent.RULE_FIRED: "Alerts were heeded ({{ target }}): {{ decision }}. {{ reason }}",
    NoticeEvent.PROPOSED: "Incident {{ incident }}: {{ title }} is proposed until {{ until }}; somebody has to launch it.",
    NoticeEvent.STORM: "Incident {{ incident }}: a storm of alerts; nothing is launched without people. {{ reason }}",
    NoticeEvent.RULES_REFUSED: "The rules for alerts need mending. {{ reason }}",
}
"""For people who neither decide nor act: no commands."""


def facts_of(notice: Notice, event: NoticeEvent, link: str) -> dict[str, str]:
    """Give all that a text may name.

    Arguments:
        link: the console's address, or "".
    """
    proposal = notice.facts.get("proposal", "")
    path = f"runs/{notice.run}" if notice.run else f"proposals/{proposal}" if proposal else ""
    page = f"{link.rstrip('/')}/{path}" if link and path else ""
    known = {name: notice.facts.get(name, "") for name in FACTS}
    own = {"about": str(notice.about), "incident": notice.incident, "run": notice.run or notice.incident}
    command = _command(notice, event)
    return (
        known
        | own
        | {"step": notice.step, "link": page, "next": f"{page} or: {command}" if page else command}
    )


def _command(notice: Notice, event: NoticeEvent) -> str:
    match event:
        case NoticeEvent.GATE_REACHED | NoticeEvent.GATE_REMINDER | NoticeEvent.GATE_ESCALATED:
            return f"mimrun approve {notice.run}"
        case NoticeEvent.MANUAL_ASKED | NoticeEvent.MANUAL_REMINDER:
            return f"mimrun attest {notice.run}"
        case NoticeEvent.KILLSWITCH:
            return "mimrun kill-switch show"
        case NoticeEvent.PROPOSED:
            return f"mimrun proposal take {notice.facts.get('proposal', 'latest')}"
        case NoticeEvent.STORM:
            return "mimrun rule resume --reason WHY"
        case NoticeEvent.RULES_REFUSED:
            return "mimrun rule lint"
        case NoticeEvent.RULE_FIRED if not notice.run:
            return f"mimrun rule show {notice.facts.get('title', '')}"
        case _:
            return f"mimrun status {notice.run}"
