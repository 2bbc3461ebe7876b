"""GLPI, over its REST interface: changes, their validations, tasks and items.

What is known of it, and held to:

- A change has no field for a run, a digest or a type: they stand in one line of its description, `mimrun: …`.
- The description is HTML, and is given back escaped, by some versions twice; only a line that is there once is read.
- Who validated stands in the validations. A validation that is asked of a group names nobody until somebody answers.
- Times have no zone: they are in that of the server, which `zone` names.
- A status of 4 means that the change waits, which is read as "on hold".
- Lists are given in parts (206 and Content-Range).
"""

from __future__ import annotations

from connectors.change.glpi.settings import GlpiSettings
from connectors.change.glpi.system import Glpi

__all__ = ["Glpi", "GlpiSettings"]
