"""Freshservice, over its interface v2: changes, what each approver said, and notes.

What is known of it, and held to:

- Planning fields are sent in a second request: with the first one some accounts answer 500.
- Who approved stands in the approvals alone, one for each approver; the number in the header of a change is not read.
- There is no request by which somebody could approve for another person, and none is made.
- It looks for no conflicts: mimrun's own calendars decide about times.
"""

from __future__ import annotations

from connectors.change.freshservice.settings import FreshserviceSettings
from connectors.change.freshservice.system import Freshservice

__all__ = ["Freshservice", "FreshserviceSettings"]
