"""Jira Service Management, in the Cloud or a data center: changes are requests of a service desk.

What is known of it, and held to:

- Who approved stands in the approvals of the request, one for each step of the workflow, with each approver's word.
- Version 2 of the issue interface takes and gives plain text; version 3 would want documents.
- Workflows, and so the names of states, are everybody's own: `state_map` says what they mean.
- The history of an issue says who changed which field when, so that an edit behind an approval is seen.
- A search answers from an index that is a little late: a request that was made a moment ago may not be found yet.
"""

from __future__ import annotations

from connectors.change.jira.settings import JiraSettings
from connectors.change.jira.system import Jira

__all__ = ["Jira", "JiraSettings"]
