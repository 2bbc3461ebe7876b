"""The whole story on real parts: a threshold, an alert, a rule, a proposal, an approval on a phone, a run, a review."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from builders.browser import DARK, LIGHT, PHONE, OpenPage, axe, fits, shoot
from builders.commands import Desk
from builders.serving import Server, serving
from playwright.sync_api import Page, expect

from mimrun.app.home import operating_system_user
from mimrun.lab import folder as lab_folder
from mimrun.lab import patience
from mimrun.lab.failover import FailoverLab
from mimrun.lab.monitoring import ALERT, MonitoringLab
from mimrun.secret import Secret

pytestmark = [pytest.mark.needs("prometheus", "postgres", "sshd", "haproxy"), pytest.mark.timeout(300)]

TOKEN = "the-token-of-the-alertmanager"
PEOPLE = f"""\
people:
  operator: {{roles: [administrator], accounts: ['{operating_system_user()}']}}
  robin: {{name: Robin, roles: [responder]}}
  alex: {{name: Alex, roles: [change_manager]}}
  sam: {{name: Sam, roles: [service_desk]}}
"""
ALERTS = "sources:\n  prometheus: {{kind: alertmanager, token: 'file:{token}'}}\n"
RULES = f"""\
rules:
  - name: orders-cannot-be-saved
    title: Clients of a PostgreSQL pair cannot save anything
    match: {{source: prometheus, severity: critical, labels: {{alertname: {ALERT}}}}}
    value: {{above: "0.5"}}
    group_by: [cluster]
    action: propose
    runbook: postgres-failover
    inputs: {{cluster: {{label: cluster}}}}
    inventory: [shop.yaml]
    expires: 30m
    incident: {{title: Orders cannot be saved, impact: high, urgency: high, services: [orders]}}
"""


@dataclass
class Scene:
    """Everything that is up: the pair with its client, what watches it, and mimrun's server."""

    desk: Desk
    lab: FailoverLab
    watch: MonitoringLab
    server: Server

    def ask(self, *words: str) -> Any:
        """What a command answers, as JSON."""
        said = self.desk(*words, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    desk = Desk(tmp_path_factory.mktemp("story"))
    del desk.env["MIMRUN_RUNBOOKS"]
    with lab_folder.temporary() as folder, FailoverLab(folder, cluster="shop", net="127.0.61") as lab:
        (desk.home / "people.yaml").write_text(PEOPLE)
        token = desk.home / "alertmanager.token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        (desk.home / "alerts.yaml").write_text(ALERTS.format(token=token))
        (desk.home / "rules").mkdir()
        (desk.home / "rules" / "shop.yaml").write_text(RULES)
        (desk.home / "shop.yaml").write_text(lab.inventory())
        with (
            serving(desk.home, "--worker") as server,
            MonitoringLab(
                folder / "monitoring",
                lab.writer.notes_path,
                f"{server.url}/alerts/alertmanager?source=prometheus",
                token=Secret(TOKEN),
                cluster="shop",
                net="127.0.61",
            ) as watch,
        ):
            yield Scene(desk, lab, watch, server)


def soon(check: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Wait until something is so; gives it."""
    found: list[Any] = []

    def look() -> bool:
        found.append(check())
        return bool(found[-1])

    assert patience.came_true(look, seconds=seconds), what
    return found[-1]


@dataclass
class Cast:
    """The people, each with windows of their own, and each signed in with a password that they chose."""

    robin: Page
    alex: Page
    sam: Page


@pytest.fixture
def cast(scene: Scene, open_page: OpenPage) -> Cast:
    pages = {
        name: open_page(look, base_url=scene.server.url)
        for name, look in {"robin": LIGHT, "alex": PHONE, "sam": DARK}.items()
    }
    for name, page in pages.items():
        given = scene.ask("password", "set", name)["password"]
        page.goto("/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password", exact=True).fill(given)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_label("The password that you were given").fill(given)
        for label in ("The one that you choose", "The same once more"):
            page.get_by_label(label).fill(f"orchids and {name}s of the north")
        page.get_by_role("button", name="Choose it, and sign in").click()
        expect(page.get_by_role("heading", name="Now")).to_be_visible()
    return Cast(**pages)


def look(page: Page, name: str) -> None:
    """Keep a picture of what somebody sees at this moment of the story; everybody must be able to use it."""
    axe(page)
    fits(page)
    shoot(page, f"story/{name}")
    # As it stands in the window: the documentation shows some of these.
    page.evaluate("scrollTo(0, 0)")
    shoot(page, f"story/window/{name}", whole=False)


def test_from_the_threshold_to_the_review(scene: Scene, cast: Cast) -> None:
    robin, alex, sam = cast.robin, cast.alex, cast.sam

    # 1. The primary dies. Nobody presses anything, and the proposal stands on the page that was open anyway.
    scene.lab.kill_primary()
    proposed = robin.locator("#now").get_by_role("link", name="postgres-failover@1.0.0")
    expect(proposed).to_be_visible(timeout=30_000)
    look(robin, "01-proposed")
    alert = soon(lambda: scene.ask("alert", "list"), "no alert in the log")[0]
    assert (alert["by"], alert["status"], alert["severity"]) == ("alert:prometheus", "firing", "critical")
    assert alert["auth"] == "token"

    # 2. The responder reads exactly what would run, and launches exactly that.
    proposed.click()
    expect(robin.get_by_role("heading", name="Promote the standby of a PostgreSQL pair")).to_be_visible()
    expect(robin.get_by_text("postgres/db1/bin/pg-fence").first).to_be_visible()
    look(robin, "02-proposal")
    robin.get_by_role("button", name="Launch exactly this").click()
    robin.wait_for_url("**/runs/run-*")
    run = robin.url.rpartition("/")[2].partition("?")[0]
    expect(robin.get_by_text("waiting (gate)").first).to_be_visible(timeout=30_000)
    look(robin, "03-run-waits")

    # 3. Who launched it cannot approve it.
    robin.goto(f"/runs/{run}/gate")
    expect(robin.get_by_text("You cannot approve this.")).to_be_visible()
    expect(robin.get_by_role("button", name="Approve exactly this")).to_have_count(0)
    robin.goto(f"/runs/{run}")

    # 4. Somebody else approves, on a phone; the page of the responder goes on by itself.
    alex.locator("#now").get_by_role("link", name="The promotion is approved").click()
    expect(alex.get_by_text("Exactly what runs when it opens")).to_be_visible()
    expect(alex.get_by_text("Promote the standby", exact=True)).to_be_visible()
    look(alex, "04-gate")
    alex.get_by_label("Why (optional)").fill("the primary is dead, and orders are lost")
    alex.get_by_role("button", name="Approve exactly this").click()
    expect(robin.locator("#step-9").get_by_text("changed").first).to_be_visible(timeout=30_000)
    expect(robin.get_by_text("waiting (manual)").first).to_be_visible(timeout=30_000)
    look(robin, "05-run-by-hand")
    look(alex, "05-decided")

    # 5. The service desk does its part, and signs for it.
    sam.locator("#now").get_by_role("link", name="Tell the service desk what changed").click()
    sam.get_by_role("button", name="I do it").click()
    sam.get_by_label("link", exact=True).fill("https://portal.example.org/incidents/orders")
    look(sam, "06-manual")
    sam.get_by_role("button", name="I sign that it is done").click()
    expect(robin.get_by_text("succeeded").first).to_be_visible(timeout=30_000)
    look(robin, "07-run-over")

    # 6. It is contained by a step that was verified, the alert is over by itself, and service is back.
    incident = scene.ask("status", run)["incident"]
    soon(
        lambda: [one for one in scene.ask("alert", "list") if one["status"] == "resolved"],
        "the alert is not over",
    )
    robin.goto(f"/incidents/{incident}")
    acts = robin.get_by_role("group", name="What you can do")
    acts.get_by_text("Move stage").click()
    robin.locator("form[action$='/stage']").get_by_role("radio", name="resolution").check()
    robin.get_by_role("button", name="Move", exact=True).click()
    expect(robin.get_by_text("It is in resolution now, contained by entry")).to_be_visible()
    acts.locator("summary").get_by_text("Resolve").click()
    form = robin.locator("form[action$='/resolve']")
    form.get_by_label("How it was resolved").select_option("fixed")
    form.get_by_label("Cause, in a word").fill("server_died")
    form.get_by_role("button", name="Resolve").click()
    expect(robin.get_by_text("resolved", exact=True).first).to_be_visible()
    look(robin, "08-incident")
    stands = scene.ask("incident", "show", incident)
    assert (stands["opened_by"], stands["status"]) == ("rule:orders-cannot-be-saved", "resolved")
    assert stands["verified"], "a step showed it, and not somebody's word"
    assert [one["run"] for one in stands["runs"]] == [run], "one run, however often the alert came"
    clocks = ("detected", "declared", "acknowledged", "contained", "restored", "resolved")
    moments = [stands["clocks"][name]["at"] for name in clocks]
    assert moments == sorted(moments)
    assert all(moments)

    # 7. It is told again, moment by moment.
    robin.goto(f"/runs/{run}/replay")
    for moment in ("0", "55"):
        robin.get_by_role("slider", name="Moment").fill(moment)
        expect(robin.locator("[data-number]")).to_have_text(moment)
    look(robin, "09-replay")

    # 8. What is to be learnt from it is written down and published, and the record proves itself.
    robin.goto(f"/incidents/{incident}/review")
    robin.get_by_text("Add an item", exact=True).click()
    robin.get_by_label("What is to be done, in a line").fill("Give the pair a third server")
    robin.get_by_role("button", name="Add", exact=True).click()
    expect(robin.get_by_text("Give the pair a third server")).to_be_visible()
    robin.get_by_role("button", name="Publish").click()
    expect(robin.get_by_text("It was published as entry")).to_be_visible()
    look(robin, "10-review")
    for figure in ("Time to acknowledge (MTTA)", "Time to contain (MTTC)", "Time to restore (MTTR)"):
        row = robin.get_by_role("row").filter(has_text=figure).first
        expect(row).not_to_contain_text("none:")
    assert scene.desk("log", "verify").code == 0
    assert scene.lab.writer.notes().outage(scene.lab.died or 0.0) is not None, "the client writes again"
