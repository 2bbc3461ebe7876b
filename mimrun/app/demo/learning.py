"""The demo's last scene: the run is told and decided again, and the review says how long everything took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun.app.demo.evidence import FOLDER
from mimrun.app.demo.report import Held
from mimrun.app.demo.run import DemoRun, Narrator
from mimrun.app.demo.stage import RESPONDER
from mimrun.app.identity import identify
from mimrun.app.replaying import narrate, redecide
from mimrun.app.review.blocks import figure_text
from mimrun.app.review.html import as_html
from mimrun.app.review.items import add_item
from mimrun.app.review.publishing import publish_review
from mimrun.incident.metrics import Figure

SHOWN: Final = ("mttd", "mtta", "mttc", "mttr_restore")
ITEM: Final = "Bring the old primary back as the standby"


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of looking back.

    Arguments:
        frames: moments of the replay.
        same: today's code decides the run as it was decided.
        compared: decisions that came out the same.
        review: the file with the review.
        figures: of the review, those that are shown.
    """

    frames: int
    same: bool
    compared: int
    review: Path
    figures: Sequence[Figure]

    def held(self) -> Sequence[Held]:
        """Give what must hold of it."""
        known = [one for one in self.figures if one.value is not None]
        return (
            Held(f"decided again today, the run takes the same course: {self.compared} decisions", self.same),
            Held(
                f"the review reckons {len(known)} of {len(self.figures)} times from the log alone",
                known == [*self.figures],
            ),
        )

    def as_json(self) -> dict[str, JsonValue]:
        """What was learnt, for `--json`."""
        return {
            "replay": {"frames": self.frames, "same": self.same, "compared": self.compared},
            "review": {
                "file": str(self.review),
                "figures": {one.name: one.value for one in self.figures},
            },
        }


def learn(run: DemoRun, narrator: Narrator) -> Learned:
    """Replay the run, write and publish the review of its incident, and tell what both say."""
    home, incident, where = run.home, run.state.incident, f"--home {run.home.settings.home}"
    narrator.scene("It is told again, and what is to be learnt is written down")
    narrator.command(RESPONDER, f"mimrun replay {run.name} {where}")
    told = narrate(home, run.name)
    narrator.tell(
        f"From the log alone: {len(told.frames)} moments in {told.length_ms / 1000:.1f} s, each with the whole board."
    )
    narrator.command(RESPONDER, f"mimrun replay {run.name} --redecide {where}")
    again = redecide(home, run.name)
    course = "the same course" if again.verdict == "same" else f"ANOTHER COURSE ({again.verdict})"
    narrator.tell(
        f"Today's code decides the run again, with the answers on record and no connector loaded. It takes {course}:"
        f" {again.compared} decisions are compared. So a changed runbook can be tried on a real night:"
        " `mimrun replay RUN --against FILE`."
    )
    identity = identify(home.people(), None)
    narrator.command(RESPONDER, f'mimrun review item add {incident} "{ITEM}" --owner {RESPONDER} {where}')
    add_item(home, identity, incident, ITEM, owner=RESPONDER)
    narrator.command(RESPONDER, f"mimrun review publish {incident} {where}")
    review, entry = publish_review(home, identity, incident)
    file = home.settings.home / FOLDER / f"{incident}-review.html"
    file.write_text(as_html(review), "utf-8")
    figures = [one for name in SHOWN for one in review.figures if one.name == name]
    narrator.answer("\n".join(f"{one.title}: {figure_text(one)}" for one in figures), ok=True)
    narrator.tell(f"The review is entry {entry.seq} of the log, and lies in {file}.")
    return Learned(len(told.frames), again.verdict == "same", again.compared, file, figures)
