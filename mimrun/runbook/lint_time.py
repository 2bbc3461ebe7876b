"""Time: waiting, deadlines, what is undone by itself, and what is done when a plan is only checked."""

from __future__ import annotations

from mimrun.connector import Action, Effect
from mimrun.runbook.document import ValuePath
from mimrun.runbook.finding import Report
from mimrun.runbook.lint_call import own_effect
from mimrun.runbook.model import ActionStep, Handler

_WAITING = "wait"
"""The connector whose actions wait by themselves."""


def check_time(report: Report, step: Handler, kind: type[Action], path: ValuePath) -> None:
    """Check the keywords of a step that are about time.

    Arguments:
        report: where findings go.
        step: what is checked.
        kind: the type of its action.
        path: where it stands.
    """
    effect = step.effect.class_ if step.effect is not None else own_effect(step, kind)
    if step.deadline is not None and step.retries and step.delay >= step.deadline:
        message = "the deadline comes before a second attempt could begin"
        report.warn((*path, "deadline"), message, "lengthen it, or shorten `delay`", at_key=True)
    if not isinstance(step, ActionStep):
        return
    if step.waits:
        _wait(report, step, effect, path)
    if step.revert_after is not None:
        _revert(report, step, effect, path)
    if not step.check_mode and effect is not Effect.READ:
        message = f"{step.call.action} may change something, so it is not done when a plan is only checked"
        report.error((*path, "check_mode"), message, "only readings can say `check_mode: false`", at_key=True)


def _wait(report: Report, step: ActionStep, effect: Effect, path: ValuePath) -> None:
    place = (*path, "wait", step.call.action)
    name, _, verb = step.call.action.partition(".")
    if name == _WAITING:
        hint = f"write `wait.{verb}: {{…}}` as the step's action"
        report.error(place, f"wait.{verb} waits by itself", hint, at_key=True)
    elif effect is not Effect.READ:
        message = f"wait is for looking again and again, and {step.call.action} may change something"
        report.error(place, message, "a command that only looks says `changed: false`", at_key=True)
    if step.deadline is not None and step.delay >= step.deadline:
        report.warn((*path, "wait"), "the deadline comes before a second look", "look more often: `every:`")


def _revert(report: Report, step: ActionStep, effect: Effect, path: ValuePath) -> None:
    place = (*path, "revert_after")
    if effect is Effect.READ:
        report.error(
            place, f"{step.call.action} changes nothing that could be undone", "take it out", at_key=True
        )
    elif step.irreversible:
        report.error(place, "what is irreversible is not undone", "take one of the two out", at_key=True)
    elif step.undo is None:
        message = "nothing says how it is undone"
        report.error(place, message, "write the action that takes it back under `undo:`", at_key=True)
