"""The demo's evidence: the incident as a file, checked by a Python that has no mimrun; and forgeries, found out.

Whatever is said here of a bundle is what the stand-alone verifier answered, in a process of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun.app.demo.forgery import Forgery, forge
from mimrun.app.demo.report import Held
from mimrun.app.demo.run import Narrator
from mimrun.app.demo.stage import RESPONDER
from mimrun.app.exports import export_bundle
from mimrun.app.home import Home
from mimrun.app.key_view import view_keys
from mimrun.errors import LabError
from mimrun.log.proof.bundle import CLASSES
from mimrun.log.proof.standalone import verifier

REVIEWER: Final = "reviewer"
FOLDER: Final = "evidence"
"""In the demo's home: where bundles and the verifier stay."""
PROGRAM: Final = "verify.py"
CHECK_S: Final = 60.0
"""Seconds that one check may take."""
_BARE: Final = ("-I", "-S")
"""Options of Python: nothing of the environment and the folder, and no installed package."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the verifier said.

    Arguments:
        code: what it ended with: 0 for what was recorded, 1 for anything else.
        text: what it printed.
    """

    code: int
    text: str

    @property
    def why(self) -> str:
        """The first thing that it found wrong, or the last that it said where it found nothing."""
        lines = [line.strip() for line in self.text.splitlines()]
        flaws = [line for line in lines[1:] if self.code == 1 and not line.startswith("NOT ")]
        return (flaws or lines or [""])[0 if flaws else -1]


@dataclass(frozen=True, slots=True)
class Found:
    """A forgery, and what the verifier said of it.

    Arguments:
        forgery: what was done.
        answer: what it was told.
    """

    forgery: Forgery
    answer: Answer

    @property
    def refused(self) -> bool:
        """Whether it was found out."""
        return self.answer.code == 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be shown of the incident afterwards, to somebody who has nothing but two files.

    Arguments:
        bundle: the incident as a file.
        program: the verifier.
        key: the log's key, as `mimrun key show` prints it.
        entries, size: entries of the incident, and of the log up to the checkpoint.
        foreign: why mimrun cannot have helped: what that Python said when it was to import it; "" if it could.
        answer: what the verifier said of the bundle.
        found: what it said of forgeries.
    """

    bundle: Path
    program: Path
    key: str
    entries: int
    size: int
    foreign: str
    answer: Answer
    found: Sequence[Found]

    @property
    def command(self) -> str:
        """What to type to check it again."""
        return f"python3 {self.program} {self.bundle}"

    def held(self) -> Sequence[Held]:
        """Give what must hold of it."""
        refused = [each for each in self.found if each.refused]
        return (
            Held(
                f"the incident's {self.entries} entries verify without mimrun, up to entry {self.size} of the log",
                self.answer.code == 0 and bool(self.foreign),
            ),
            Held(f"{len(refused)} of {len(self.found)} forged copies are refused", refused == [*self.found]),
        )

    def as_json(self) -> dict[str, JsonValue]:
        """The evidence for `--json`."""
        return {
            "bundle": str(self.bundle),
            "verifier": str(self.program),
            "key": self.key,
            "entries": self.entries,
            "size": self.size,
            "verified": self.answer.code == 0,
            "said": self.answer.text,
            "without_mimrun": self.foreign,
            "forgeries": [
                {
                    "name": each.forgery.name,
                    "what": each.forgery.what,
                    "refused": each.refused,
                    "why": each.answer.why,
                }
                for each in self.found
            ],
        }


def prove(home: Home, incident: str, narrator: Narrator) -> Evidence:
    """Export an incident, have it checked where mimrun is not, and do the same with forged copies.

    Raises:
        LabError: Python cannot be started for it.
        InputError: the bundle cannot be written.
    """
    folder, where = home.settings.home / FOLDER, f"--home {home.settings.home}"
    folder.mkdir(mode=0o700, exist_ok=True)
    bundle, program = folder / f"{incident}.mimlog", folder / PROGRAM
    bundle.unlink(missing_ok=True)
    narrator.scene("The evidence is checked without mimrun, and three forgeries are found out")
    narrator.command(RESPONDER, f"mimrun log export {incident} -o {bundle} {where}")
    manifest = export_bundle(home, bundle, incident, None, classes=CLASSES)
    narrator.command(RESPONDER, f"mimrun log verifier > {program}")
    program.write_text(verifier(), "utf-8")
    key = next((one.key.vkey for one in view_keys(home).ring.keys if one.to_size is None), "")
    with tempfile.TemporaryDirectory(prefix="mimrun-evidence-") as name:
        elsewhere = Elsewhere(Path(name), program, key)
        foreign = elsewhere.why_not_mimrun()
        narrator.tell(
            f"Both files go into an empty folder, to a Python without packages ({foreign or 'which has mimrun!'})."
        )
        narrator.command(REVIEWER, f"python3 {' '.join(_BARE)} {PROGRAM} {bundle.name} --key {key}")
        answer = elsewhere.check(bundle)
        narrator.answer(answer.text, ok=answer.code == 0)
        found = [elsewhere.judge(each) for each in forge(bundle, RESPONDER, secrets.token_bytes(32))]
    narrator.tell("Copies that somebody tampered with, each with a manifest that was made to fit:")
    for each in found:
        told = "refused" if each.refused else "NOT REFUSED"
        narrator.answer(f"{each.forgery.what}\n   {told}: {each.answer.why}", ok=each.refused)
    return Evidence(bundle, program, key, manifest.entries, manifest.size, foreign, answer, found)


class Elsewhere:
    """A machine that has Python and the verifier, as far as one machine can play another.

    Arguments:
        folder: an empty one; what is to be checked is copied into it.
        program: the verifier.
        key: the log's key that is trusted.
    """

    def __init__(self, folder: Path, program: Path, key: str) -> None:
        self._folder, self._key = folder, key
        shutil.copy(program, folder / PROGRAM)

    def why_not_mimrun(self) -> str:
        """Have mimrun imported there; give the last words of the refusal, or "" where it worked."""
        answer = self._python("-c", "import mimrun")
        return "" if answer.code == 0 else answer.text.rpartition("\n")[2]

    def check(self, bundle: Path) -> Answer:
        """Check a bundle that lies elsewhere."""
        copy = self._folder / bundle.name
        if not copy.exists():
            shutil.copy(bundle, copy)
        return self._python(PROGRAM, copy.name, "--key", self._key)

    def judge(self, forgery: Forgery) -> Found:
        """Check a forged bundle."""
        path = self._folder / f"{forgery.name}.mimlog"
        forgery.write(path)
        return Found(forgery, self.check(path))

    def _python(self, *words: str) -> Answer:
        try:
            done = subprocess.run(
                [sys.executable, *_BARE, *words],
                cwd=self._folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CHECK_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise LabError(f"the evidence cannot be checked with {sys.executable}: {exc}") from exc
        return Answer(done.returncode, done.stdout.strip())
