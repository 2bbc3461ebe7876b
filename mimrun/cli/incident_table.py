"""`mimrun incident table`: how priority and severity come of impact and urgency, and which flags and roles there are."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.cli.incident_view import PRIORITY_STYLE, SEVERITY_STYLE
from mimrun.cli.options import HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.incident.assessment import GRADES, IncidentTable
from mimrun.incident.assessment_file import load_table


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the table by which incidents are assessed: mimrun's own, or that of incidents.yaml.

    What is wrong in the file is named with its line, and it ends with 2.
    """
    settings = settings_of(home)
    table = load_table(settings.incidents)
    if as_json:
        shown = table.model_dump(mode="json", exclude={"file", "flags", "roles"})
        every = {"flags": table.every_flag, "roles": table.every_role}
        print_json({"file": table.file or None, **shown, **every})
        return
    out = console()
    where = safe(table.file) if table.file else f"mimrun's own; {safe(str(settings.incidents))} is not there"
    out.print(Text(where, "dim"))
    out.print(_matrix(table))
    out.print(Text("\nSEVERITY  the first that fits", "bold"))
    for rule in table.severity:
        out.print(_severity(rule.severity).append(f"  {safe_line(rule.words)}"))
    out.print(_severity("SEV4").append("  everything else"))
    services = ", ".join(table.critical_services) or "none is named"
    out.print(Text("  critical services: ", "dim").append(safe_line(services)))
    _words(out, "FLAGS", table.every_flag)
    _words(out, "ROLES", table.every_role)
    out.print(Text("\nCLOSING", "bold"))
    out.print(f"  by {' or '.join(table.close) or 'everybody in the people file'}")
    out.print(f"  a published review is needed for {', '.join(table.review) or 'none'}")


def _matrix(table: IncidentTable) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    shown.add_column("IMPACT \\ URGENCY", style="bold")
    for urgency in GRADES:
        shown.add_column(urgency)
    for impact in GRADES:
        row = (table.matrix.row(impact).at(urgency) for urgency in GRADES)
        shown.add_row(impact, *(Text(cell, PRIORITY_STYLE.get(cell, "")) for cell in row))
    return shown


def _severity(name: str) -> Text:
    return Text("  ").append(f" {name} ", SEVERITY_STYLE[name])


def _words(out: Console, head: str, words: dict[str, str]) -> None:
    out.print(Text(f"\n{head}", "bold"))
    for word, meaning in words.items():
        out.print(Text(f"  {word:<24}").append(safe_line(meaning), "dim"))
