"""Exports of the log: what the command line writes into a file, as a download; that it went out is recorded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from mimrun.app.exports import Wanted, export_bundle, export_file
from mimrun.app.home import Home
from mimrun.app.incident.view import find_state
from mimrun.errors import InputError
from mimrun.log.export.format import Format
from mimrun.log.proof.bundle import CLASSES
from mimrun.runbook.suggestion import suggest
from mimrun.web.acting import Acting
from mimrun.web.download import Passing
from mimrun.web.form import Form
from mimrun.web.route import does, new_router

router: Final = new_router()


@dataclass(frozen=True, slots=True)
class Way:
    """A form that an export may have.

    Arguments:
        said: for whom it is.
        ending: of the file's name.
        format: None for a bundle.
    """

    said: str
    ending: str
    format: Format | None


WAYS: Final[Mapping[str, Way]] = MappingProxyType(
    {
        "bundle": Way("bundle: proves itself, checked offline by anybody", "mimlog", None),
        "jsonl": Way("jsonl: each entry as it is on record", "jsonl", Format.JSONL),
        "csv": Way("csv: for a spreadsheet", "csv", Format.CSV),
        "ocsf": Way("ocsf: for a SIEM", "ocsf.jsonl", Format.OCSF),
        "cloudevents": Way("cloudevents", "cloudevents.jsonl", Format.CLOUDEVENTS),
        "syslog": Way("syslog", "log", Format.SYSLOG),
    }
)


@router.post("/log/export")
@does("log export")
def export(request: Request, who: Acting, form: Form) -> Response:  # noqa: ARG001 - the form is the request
    """Give an incident, or the whole log, as a file."""
    way = WAYS.get(form.text("format"))
    if way is None:
        raise InputError(f"there is no format {form.text('format')!r}; {suggest(form.text('format'), WAYS)}")
    wanted = form.text("incident", "all")
    name = wanted if wanted == "all" else find_state(who.home, wanted).name
    folder = Path(tempfile.mkdtemp(prefix="mimrun-export-"))
    try:
        file = _write(who.home, folder, name, way, blobs=form.has("blobs"))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Passing(file, f"{'log' if name == 'all' else name}.{way.ending}")


def _write(home: Home, folder: Path, name: str, way: Way, *, blobs: bool) -> Path:
    file = folder / "export"
    if way.format is None:
        export_bundle(home, file, name, None, classes=CLASSES if blobs else ())
    else:
        with_blobs = blobs and way.format is Format.JSONL
        export_file(home, file, Wanted(name, way.format, blobs=with_blobs), None)
    return file
