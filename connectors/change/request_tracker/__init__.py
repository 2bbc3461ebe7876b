"""Request Tracker 5, over its REST interface 2: changes are tickets of one queue with a lifecycle of their own.

`deploy/rt/` has what such a Request Tracker needs. What was found out on a real one (5.0.3), and is held by tests:

- A refused change of state is answered with 200 and a sentence, so that everything written is read back.
- A custom field that is not there, or not theirs to write, is left out without a word when a ticket is made.
- A time is read in the account's own zone, and one with a Z behind it silently becomes midnight.
- Who approved stands in the history alone. Its `total` is null for an ordinary account and rows that may not be
  seen are missing from a page, so that neither says where it ends; the ticket's ETag does: it is the id of the last
  row that may be seen.
- An approval is a ticket of its own: `Type='approval' AND Queue='___Approvals' AND DependedOnBy=N` finds them. A
  search of that queue alone finds nothing.
"""

from __future__ import annotations

from connectors.change.request_tracker.settings import RequestTrackerSettings
from connectors.change.request_tracker.system import RequestTracker

__all__ = ["RequestTracker", "RequestTrackerSettings"]
