"""Any tool that speaks JSON over HTTP: `changes.yaml` says where in its answers each field of a change stands.

For tools that have no adapter of their own. All of the mapping is looked at when the file is read: names, paths, values
and placeholders. At run time nothing of it is code, and nothing that comes from outside is put into an address but the
reference, with every character that could mean something there escaped.
"""

from __future__ import annotations

from connectors.change.generic.settings import GenericHttpSettings
from connectors.change.generic.system import GenericHttp

__all__ = ["GenericHttp", "GenericHttpSettings"]
