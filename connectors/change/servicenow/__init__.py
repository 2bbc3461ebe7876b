"""ServiceNow, over its Table and Change Management interfaces: changes are rows of `change_request`.

What its documentation says and this adapter holds to:

- Values of times are UTC without saying so; what is shown is in the zone of whoever asks, and is not read.
- The sample of a search that found no conflict says "Conflict" and counts one: only its empty list tells the truth.
- Fields that a login may not write are left out without an error, and named in `__meta.ignoredFields`.
- The documentation counts risks from two ends, so that a risk is never compared as a number.
- `PATCH …/approvals` approves as whoever asks: mimrun never calls it.
"""

from __future__ import annotations

from connectors.change.servicenow.settings import ServiceNowSettings
from connectors.change.servicenow.system import ServiceNow

__all__ = ["ServiceNow", "ServiceNowSettings"]
