"""Exports: the log's ways out of the house, and the record that something went."""

from __future__ import annotations

from pathlib import Path

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.log.entry import Draft
from mimrun.log.kinds import ExportMade
from mimrun.log.proof.bundle import Manifest, export


def export_bundle(home: Home, path: Path, incident: str, claimed: str | None, *, blobs: bool) -> Manifest:
    """Write an incident, or `all`, into a bundle, and record that it left the house.

    Raises:
        InputError: there is no such incident, or the file exists.
        TamperError: the log does not verify.
    """
    identity = identify(home.people(), claimed)
    inc = None if incident == "all" else incident
    manifest = export(home.store, path, inc=inc, blobs=blobs)
    body = ExportMade(entries=manifest.entries, digest=canonical.digest_bytes(path.read_bytes()))
    home.store.append([Draft(identity.actor(), body, inc=inc or "")])
    return manifest
