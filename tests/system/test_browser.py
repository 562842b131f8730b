"""What a person sees in headless Chromium: MLflow's saved views, and the HTML leaderboard."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.report import files
from benchmark.study.plan import Plan
from benchmark.tracking import client, report_run, server
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import store as tracking_store
from tests.support.browser import MARKS, browsed
from tests.support.commandline import kdbench
from tests.support.studies import Tracked
from tests.support.tabled import entry, several, tables

pytestmark = MARKS


class Seen:
    """A browser's page on a served store; `outside` holds requests that leave this machine."""

    def __init__(
        self,
        page: Any,
        base: str,
        experiment: str,
        report: str,
        run: str,
        views: dict[str, str],
        results: Path,
    ):
        self.page, self.base, self.views, self.results = page, base, views, results
        self.pane = f"{base}/#/experiments/{experiment}/runs/{report}/artifacts/leaderboard.html"
        self.pane += "?workflowType=machine_learning"
        self.experiment = experiment
        self.run_page = f"{base}/#/experiments/{experiment}/runs/{run}"
        self.run_page += "?workflowType=machine_learning"
        self.start = server.addresses(base, experiment)["start"]
        self.outside: list[str] = []
        page.context.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((f"{self.base}/", "data:", "blob:", "file:")):
            self.outside.append(request.url)

    def open(self, address: str) -> None:
        self.page.goto("about:blank")  # another part behind the # alone loads nothing
        self.page.goto(address)

    def shows(self, text: str | re.Pattern[str]) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=60_000)

    def leaderboard(self) -> Any:
        """The frame with the HTML leaderboard in MLflow's pane of artifacts."""
        self.open(self.pane)
        frame = self.page.frame_locator("iframe").first
        frame.locator("table").first.wait_for(timeout=60_000)
        return frame


@pytest.fixture(scope="module")
def seen(tracked: Tracked) -> Iterator[Seen]:
    """The tiny study, served, its leaderboard published."""
    done = kdbench(
        "--workspace", tracked.workspace, "leaderboard", tracked.study, "--results", tracked.results
    )
    assert done.code == 0, done.err
    store = tracking_store.open_store(tracked.workspace, None)
    (experiment,) = tracking_runs.experiments(store).values()
    condition = "tags.method = 'kd' and tags.seed = '0' and tags.`kdbench.kind` = 'run'"
    (run,) = client.Client(store).search(experiment, condition)
    (report,) = client.Client(store).search(experiment, "tags.`kdbench.kind` = 'report'")
    with browsed(store) as (base, page):
        (views,) = report_run.addresses(base, store).values()
        identities = (experiment, report.info.run_id, run.info.run_id)
        yield Seen(page, base, *identities, views, tracked.results / "tiny")


def test_the_leaderboard_view_shows_a_group_for_each_method_with_its_mean(seen: Seen) -> None:
    seen.open(seen.views["leaderboard"])
    for method, mean in means(seen).items():
        seen.shows(f"Group: {method}")
        seen.shows(mean)
    seen.shows("test/acc1")


def means(seen: Seen) -> dict[str, re.Pattern[str]]:
    """How MLflow's text of each student's mean accuracy begins, by method."""
    with (seen.results / "leaderboard.csv").open() as file:
        values = {row["method"]: row["acc1"] for row in csv.DictReader(file)}
    return {
        method: re.compile(rf"^{re.escape(values[method][:6].removesuffix('.0'))}")
        for method in ("student", "kd", "at")
    }


IN_SIGHT = """element => {
    const box = element.getBoundingClientRect();
    const inside = x => {
        const top = document.elementFromPoint(x, box.top + box.height / 2);
        return top !== null && (element.contains(top) || top.contains(element));
    };
    return inside(box.left + 2) && inside(box.left + 40);
}"""
"""Whether the first five characters of a text are seen, rather than cut off or covered."""


@pytest.mark.parametrize("width", [1400, 1000])
def test_the_accuracies_are_in_sight_without_scrolling(seen: Seen, width: int) -> None:
    size = seen.page.viewport_size
    seen.page.set_viewport_size({"width": width, "height": 1200})
    seen.open(seen.views["leaderboard"])
    for mean in means(seen).values():
        seen.shows(mean)
        assert seen.page.get_by_text(mean).first.evaluate(IN_SIGHT)
    seen.open(seen.views["runs"])
    seen.shows("top1")
    assert seen.page.get_by_text("top1").first.evaluate(IN_SIGHT)
    seen.page.set_viewport_size(size)


def test_the_view_of_the_report_shows_its_run_and_the_result(seen: Seen) -> None:
    address = seen.views["runs"].replace("=runs", "=report")
    seen.open(address)
    seen.shows(re.compile("^report$"))
    seen.shows("result")


def test_the_report_is_reached_from_the_description(seen: Seen) -> None:
    seen.open(seen.views["leaderboard"])
    link = seen.page.get_by_role("link", name="Report", exact=True).first
    link.wait_for(timeout=60_000)
    target = link.get_attribute("href")
    assert target is not None
    assert seen.views["report"].endswith(target)
    seen.open(seen.views["report"])
    seen.page.frame_locator("iframe").first.locator("table").first.wait_for(timeout=60_000)


def test_the_tab_of_models_shows_every_student_and_its_teacher(seen: Seen) -> None:
    seen.open(seen.start.replace("/experiments?", f"/experiments/{seen.experiment}/models?"))
    seen.shows("teacher pair s0")
    for method in ("student", "kd", "at"):
        seen.shows(f"{method} pair s2")
    seen.shows("Ready")


def test_the_page_of_a_run_shows_its_data_and_the_model_of_its_teacher(seen: Seen) -> None:
    seen.open(seen.run_page)
    for text in ("digits train", "digits test", "kd pair s0", "teacher pair s0"):
        seen.shows(text)


def test_the_runs_view_shows_every_run_with_the_columns_that_matter(seen: Seen) -> None:
    seen.open(seen.views["runs"])
    for name in (
        *(f"{method} pair s{seed}" for method in ("student", "kd", "at") for seed in range(3)),
        "test/f1",
    ):
        seen.shows(name)


def test_the_curves_view_shows_charts_over_the_epochs(seen: Seen) -> None:
    seen.open(seen.views["curves"])
    for chart in ("val/acc1", "loss/total"):
        seen.shows(chart)
    lines = seen.page.locator(".js-plotly-plot .scatterlayer .trace")
    lines.nth(2).wait_for(state="attached", timeout=60_000)  # the third of three methods


def test_the_html_leaderboard_renders_in_the_artifact_pane_and_sorts(seen: Seen) -> None:
    table = seen.leaderboard().locator("table").first

    def column(number: int) -> list[str]:
        return [
            text.strip()
            for text in table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()
        ]

    before = column(1)
    assert sorted(before) == ["at", "kd", "student", "teacher"]
    header = table.locator("thead button").first
    header.click()
    once = column(1)
    header.click()
    assert once == sorted(before)
    assert column(1) == sorted(before, reverse=True)
    table.locator("thead button").nth(2).click()
    means = [float(text.split()[0]) for text in column(3)]
    assert means == sorted(means, reverse=True)
    assert column(1) != sorted(before, reverse=True)


def test_no_link_in_the_artifact_pane_leads_to_an_empty_pane(seen: Seen) -> None:
    """What lies beside the page is listed by MLflow at its left, and out of the frame's reach."""
    frame = seen.leaderboard()
    assert frame.locator("a").count() > 0
    assert not any(link.is_visible() for link in frame.locator("a").all())
    seen.open((seen.results / "leaderboard.html").as_uri())
    assert all(link.is_visible() for link in seen.page.locator("a").all())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Leaderboards: of one pair, of three, and of many rows with long names."""
    methods = (
        "student",
        *(f"a_method_with_a_long_name+another_one-{number}" for number in range(40)),
    )
    plan = Plan("long", "", ("a_pair_with_a_name_of_its_own",), methods, (0, 1), "last", "student")
    runs = [
        entry(plan.pairs[0], method, seed, 70.0 + seed, 1.0)
        for method in methods
        for seed in (0, 1)
    ]
    folder = tmp_path_factory.mktemp("written")
    for name, board in {
        "one": tables(),
        "three": several(3),
        "long": tables(pd.DataFrame(runs), plan),
    }.items():
        files.write(*board, folder / name)  # type: ignore[call-arg]
    return sorted(folder.glob("*/leaderboard.html"))


@pytest.mark.parametrize("width", [1400, 700])
def test_no_page_scrolls_sideways_and_every_part_that_does_says_so(
    seen: Seen, written: list[Path], width: int
) -> None:
    size = seen.page.viewport_size
    seen.page.set_viewport_size({"width": width, "height": 900})
    hints = 0
    for file in (*written, seen.results / "leaderboard.html"):
        seen.open(file.as_uri())
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        for part in seen.page.locator(".part").all():
            box = part.locator(".box")
            scrolls = box.evaluate("box => box.firstElementChild.offsetWidth > box.clientWidth + 1")
            assert part.locator(".hint").is_visible() == scrolls
            hints += scrolls
    assert hints > 0 or width > 700
    seen.page.set_viewport_size(size)


def test_the_hint_stays_and_the_fading_edge_goes_at_the_end_of_a_table(
    seen: Seen, written: list[Path]
) -> None:
    size = seen.page.viewport_size
    seen.page.set_viewport_size({"width": 700, "height": 900})
    seen.open(next(file for file in written if file.parent.name == "one").as_uri())
    part = seen.page.locator(".part.wide").first
    assert part.locator(".box").evaluate("box => getComputedStyle(box).maskImage") != "none"
    part.locator(".box").evaluate("box => box.scrollLeft = box.scrollWidth")
    seen.page.locator(
        ".part.wide.end"
    ).first.wait_for()  # the page forbids the eval of wait_for_function
    assert part.locator(".box").evaluate("box => getComputedStyle(box).maskImage") == "none"
    seen.page.set_viewport_size(size)


def test_the_header_of_a_long_table_stays_in_sight(seen: Seen, written: list[Path]) -> None:
    seen.open(next(file for file in written if file.parent.name == "long").as_uri())
    table = seen.page.locator(".part.fits table").last
    table.locator("tbody tr").nth(30).scroll_into_view_if_needed()
    seen.page.mouse.wheel(0, 400)
    head = table.locator("th").first
    seen.page.wait_for_timeout(200)
    assert head.bounding_box()["y"] == pytest.approx(0, abs=2)


def test_no_request_leaves_this_machine(seen: Seen) -> None:
    for address in (*seen.views.values(), seen.start):
        seen.open(address)
        seen.page.wait_for_timeout(3000)
    seen.leaderboard()
    seen.page.wait_for_timeout(3000)
    assert seen.outside == []


def test_a_request_that_leaves_this_machine_would_be_noticed(seen: Seen) -> None:
    before = list(seen.outside)
    try:
        seen.open(seen.start)
        seen.page.evaluate("fetch('http://192.0.2.1/').catch(() => null) && null")
        seen.page.wait_for_timeout(500)
        assert seen.outside == [*before, "http://192.0.2.1/"]
    finally:
        seen.outside[:] = before
