"""A library of small runbooks that really do something on this machine, for tests of what launches them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from builders.runs import Bench

from mimrun.catalog import installed_catalog

NOTE = """\
schema: mimrun/1
name: leave-a-note
version: {version}
title: Leave a note
stage: containment
owner: testers
risk: low
description: |
  Writes a word into a file, {how}.
inputs:
  word: {{type: string, pattern: "[a-z ]{{1,40}}", help: What is written}}
  times: {{type: integer, minimum: 1, maximum: 9, default: 1}}
  loud: {{type: boolean, default: false, help: Whether it is in capitals}}
  where: {{type: string, choices: [top, bottom], default: bottom}}
  tags: {{type: list, choices: [red, green], default: [red]}}
  names: {{type: list, required: false}}
  wait: {{type: duration, default: 5s}}
  pin: {{type: secret, required: false, help: Not needed}}
vars:
  file: {file}
hosts: {hosts}
locks: ["note/{{{{ word }}}}"]
steps:
  - name: The note is written
    local.command: {{argv: [sh, -c, 'printf "%s %s\\n" "$1" "$2" >> "$0"', "{{{{ file }}}}", "{{{{ word }}}}", "{{{{ times }}}}"]}}
"""


class Shelf(Bench):
    """A bench with the installed connectors, and a library with the runbook `leave-a-note`.

    Arguments:
        folder: where all of it is; it exists.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, installed_catalog())
        self.library, self.notes = folder / "library", folder / "notes.txt"
        self.inventory = folder / "hosts.ini"
        self.inventory.write_text("here ansible_connection=local\n")
        self.settings = replace(self.settings, inventory=self.inventory)
        self.put()
        monkeypatch.setenv("MIMRUN_RUNBOOKS", str(self.library))

    def put(self, version: str = "1.0.0", how: str = "and nothing else", hosts: str = "localhost") -> None:
        """Put a version of the runbook into the library, in the place of the one before."""
        path = self.library / "containment" / "leave-a-note.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NOTE.format(version=version, how=how, hosts=hosts, file=self.notes))

    def written(self) -> list[str]:
        """Give what was written."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []
