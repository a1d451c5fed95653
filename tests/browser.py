"""A browser to look at a page with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()


@contextmanager
def opened(
    html: str, folder: Path, width: int = 1440, height: int = 1000, dark: bool = False
) -> Iterator[tuple[Any, list[str]]]:
    """The page in Chromium, every picture drawn, and a list that fills with what went wrong."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if program is None:
        pytest.skip("no Chromium on this machine")
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    troubles: list[str] = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
            )
            page.set_default_timeout(60_000)
            page.on(
                "console",
                lambda message: (
                    troubles.append(f"console: {message.text}")
                    if message.type in ("error", "warning")
                    else None
                ),
            )
            page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
            page.on("dialog", lambda dialog: (troubles.append("dialog"), dialog.dismiss()))
            page.on(
                "request",
                lambda request: (
                    None
                    if request.url == file.as_uri()
                    else troubles.append(f"request: {request.url[:200]}")
                ),
            )
            page.goto(file.as_uri())
            page.locator("html[data-drawn='all']").wait_for(state="attached")
            yield page, troubles
        finally:
            browser.close()
