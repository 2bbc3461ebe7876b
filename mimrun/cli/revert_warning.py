"""A word before the go: what is done for a time only needs somebody who takes it back."""

from __future__ import annotations

from rich.text import Text

from mimrun.app.presence import takes_back_alone
from mimrun.cli.terminal import console
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings


def warn_of_nobody(settings: Settings, plan: Plan) -> None:
    """Warn, beside the answer, where a plan takes itself back and nobody is there to do it."""
    why = takes_back_alone(settings, plan)
    if why:
        console(stderr=True).print(Text(f"  {why}", "bold yellow"))
