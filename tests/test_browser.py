"""MLflow's page as a person sees it, in headless Chromium: the saved views of a study, and its leaderboard as HTML."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from commandline import kdbench
from conftest import Tracked

from benchmark import pages, recorded, server, tracking_store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra browser)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the driver's pipes
]


class Seen:
    """A browser's page on a served store; `outside` are the requests that left this machine."""

    def __init__(self, page: Any, base: str, experiment: str, report: str, views: dict[str, str]):
        self.page, self.base, self.experiment, self.report, self.views = page, base, experiment, report, views
        self.outside: list[str] = []
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, address: str) -> None:
        self.page.goto("about:blank")  # another part behind the # alone loads nothing
        self.page.goto(address)

    def shows(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=60_000)


@pytest.fixture(scope="module")
def seen(tracked: Tracked) -> Iterator[Seen]:
    """The tiny study, served, its leaderboard published."""
    done = kdbench("--workspace", tracked.workspace, "leaderboard", tracked.study, "--results", tracked.results)
    assert done.code == 0, done.err
    store = tracking_store.store(tracked.workspace, None)
    (experiment,) = recorded.experiments(store).values()
    (report,) = tracking_store.Client(store).search(experiment, "tags.`kdbench.kind` = 'report'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = server.serve(store, port=port)
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            page = browser.new_page(viewport={"width": 1500, "height": 1200})
            base = f"http://127.0.0.1:{port}"
            (views,) = pages.addresses(base, store).values()
            yield Seen(page, base, experiment, report.info.run_id, views)
            browser.close()
    finally:
        server.end(process)


def test_the_leaderboard_view_shows_a_group_for_each_method_with_its_mean(seen: Seen) -> None:
    seen.open(seen.views["leaderboard"])
    for method in ("student", "kd", "at"):
        seen.shows(f"method: {method}, pair: pair")
    seen.shows("test/acc1")


def test_the_runs_view_shows_every_run_with_the_columns_that_matter(seen: Seen) -> None:
    seen.open(seen.views["runs"])
    for name in ("kd pair s0", "student pair s2", "test/f1"):
        seen.shows(name)


def test_the_curves_view_shows_charts_over_the_epochs(seen: Seen) -> None:
    seen.open(seen.views["curves"])
    for chart in ("val/acc1", "loss/total"):
        seen.shows(chart)


def test_the_html_leaderboard_renders_in_the_artifact_pane_and_sorts(seen: Seen) -> None:
    place = f"/#/experiments/{seen.experiment}/runs/{seen.report}/artifacts/leaderboard.html"
    seen.open(f"{seen.base}{place}?workflowType=machine_learning")
    frame = seen.page.frame_locator("iframe").first
    table = frame.locator("table").first
    table.wait_for(timeout=60_000)

    def methods() -> list[str]:
        first = table.locator("tbody tr td:first-child, tbody tr th:first-child")
        return [text.strip() for text in first.all_inner_texts()]

    before = methods()
    assert sorted(before) == ["at", "kd", "student", "teacher"]
    header = table.locator("thead button").first
    header.click()
    once = methods()
    header.click()
    assert once == sorted(before)
    assert methods() == sorted(before, reverse=True)


def test_no_request_left_this_machine(seen: Seen) -> None:
    """After all pages above; alone, after the start page."""
    seen.open(server.addresses(seen.base, seen.experiment)["start"])
    seen.page.wait_for_timeout(3000)
    assert seen.outside == []
