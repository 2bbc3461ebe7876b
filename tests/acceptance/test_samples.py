"""The samples in `deploy/` for monitoring systems are right, say the programs that read them, and mimrun fits them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from builders.commands import Desk
from builders.serving import serving

from mimrun.incident.source_file import parse_sources
from mimrun.lab.alertmanager import find
from mimrun.runbook.document import read_document
from mimrun.web import intake

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ALERTMANAGER, GRAFANA = DEPLOY / "alertmanager" / "mimrun.yml", DEPLOY / "grafana" / "mimrun.yml"
KNOWN = {"alertmanager", "grafana"}


def said_by(*argv: str) -> str:
    done = subprocess.run(
        argv, cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("prometheus")
def test_prometheus_reads_its_samples_and_the_thresholds_fire_when_they_should() -> None:
    assert find()
    assert "SUCCESS" in said_by("promtool", "check", "config", "--syntax-only", "prometheus.yml")
    for name in ("thresholds", "mimrun"):
        assert "SUCCESS" in said_by("promtool", "check", "rules", f"{name}.yml")
        assert "SUCCESS" in said_by("promtool", "test", "rules", f"{name}.test.yml")


@pytest.mark.needs("prometheus")
def test_alertmanager_tells_mimrun_and_people_of_what_is_bad_and_people_alone_of_the_rest() -> None:
    assert "SUCCESS" in said_by("amtool", "check-config", str(ALERTMANAGER))
    route = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}")
    assert said_by(*route, "severity=critical").strip() == "mimrun,on-call"
    assert said_by(*route, "severity=warning").strip() == "on-call"


def test_every_threshold_says_what_mimrun_reads() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "thresholds.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "value"} <= set(rule["annotations"])


def source_in(path: Path) -> dict[str, Any]:
    """Read the part of `alerts.yaml` that a sample shows in its comments."""
    lines = [re.sub(r"^# {0,3}", "", line) for line in path.read_text().splitlines() if line.startswith("#")]
    begin = lines.index("sources:")
    text = "\n".join(lines[begin : lines.index("", begin)])
    return parse_sources(read_document(text, "alerts.yaml")).as_json()


@pytest.mark.parametrize("path", [ALERTMANAGER, GRAFANA], ids=lambda path: path.parent.name)
def test_the_other_end_of_a_sample_is_a_source_of_that_name_and_kind(path: Path) -> None:
    (url,) = re.findall(r"https://\S+", path.read_text())
    found = re.fullmatch(r"https://mimrun\.example\.org/alerts/(\w+)\?source=(\w+)", url)
    assert found is not None
    assert source_in(path)[found[2]]["kind"] == found[1]


def test_grafana_signs_what_mimrun_checks() -> None:
    (point,) = yaml.safe_load(GRAFANA.read_text())["contactPoints"]
    settings = point["receivers"][0]["settings"]
    assert settings["hmacConfig"]["timestampHeader"] == source_in(GRAFANA)["grafana"]["timestamp_header"]
    assert settings["hmacConfig"]["header"] == "X-Grafana-Alerting-Signature"


def queries() -> list[str]:
    """Give everything that the samples ask mimrun's figures for."""
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "mimrun.yml").read_text())["groups"]
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*asked, *(rule["expr"] for rule in group["rules"])]


@pytest.mark.needs("prometheus")
def test_every_query_of_the_dashboard_can_be_asked(tmp_path: Path) -> None:
    rules = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "asked.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    assert "SUCCESS" in said_by("promtool", "check", "rules", str(path))


def test_every_figure_that_the_samples_ask_for_is_one_of_a_server(tmp_path: Path) -> None:
    with serving(Desk(tmp_path).home, "--open-metrics", "--worker") as server:
        shown = httpx.get(f"{server.url}/metrics", timeout=30).text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", shown, re.MULTILINE))
    there = {
        f"{name}{end}"
        for name, kind in kinds.items()
        for end in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    asked = {name for query in queries() for name in re.findall(r"\bmimrun_\w+", query)}
    assert asked
    assert asked <= there
    routes = {route for query in queries() for route in re.findall(r'route!?="([^"]+)"', query)}
    assert routes == {route.path for route in intake.router.routes if "POST" in route.methods}  # type: ignore[attr-defined]
