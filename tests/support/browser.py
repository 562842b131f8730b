"""Headless Chromium, for tests of what a person sees."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmark.tracking import server
from benchmark.tracking.store import Store

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the driver's pipes
]


@contextmanager
def browsed(store: Store) -> Iterator[tuple[str, Any]]:
    """Serve a store; yield its address and a page of a browser."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (extra browser)"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    process = server.serve(store, port=port)
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
            yield (
                f"http://127.0.0.1:{port}",
                browser.new_page(viewport={"width": 1500, "height": 1200}),
            )
            browser.close()
    finally:
        server.end(process)
