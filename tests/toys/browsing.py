"""Debian's Chromium under Playwright: a page that may not fail silently, axe, the keyboard."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

Theme = Literal["light", "dark"]
LAPTOP = {"width": 1366, "height": 768}
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # No other host is reachable, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find_chromium() -> str:
    """Return the program; skips where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium; skips where there is none. Until the end an event loop runs in this thread."""
    program = find_chromium()
    alone = ["--no-sandbox"] if os.getuid() == 0 else []
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_ARGUMENTS, *alone])
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did that it should not: console errors, uncaught errors, other hosts, answers 5xx."""

    origin: str
    found: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Let pass what matches: the test brings it about, e.g. ``status of 401``."""
        self.allowed.append(pattern)

    def on(self, context: BrowserContext) -> None:
        context.on("console", lambda m: self._note(f"console: {m.text} ({m.page and m.page.url})", m.type == "error"))
        context.on("weberror", lambda e: self._note(f"uncaught: {e.error}", True))
        context.on("request", lambda r: self._note(f"another host: {r.url}", self._is_foreign(r.url)))
        context.on("response", lambda r: self._note(f"{r.status}: {r.url}", r.status >= 500))

    def assert_clean(self) -> None:
        left = [text for text in self.found if not any(re.search(p, text) for p in self.allowed)]
        assert not left, "the page did what it should not:\n" + "\n".join(left)

    def _note(self, text: str, wrong: bool) -> None:
        if wrong:
            self.found.append(text)

    def _is_foreign(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https", "ws", "wss"} and f"{parts.scheme}://{parts.netloc}" != self.origin


@contextmanager
def watched_page(browser: Browser, origin: str, watch: Watch) -> Iterator[Page]:
    """Open a page in a context of its own; its errors fail the test at the end."""
    context = browser.new_context(
        base_url=origin, viewport=LAPTOP, reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
    )
    context.set_default_timeout(30_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
    watch.on(context)
    yield context.new_page()
    context.close()
    watch.assert_clean()


def visit(page: Page, path: str, *, theme: Theme = "light") -> None:
    """Open a path of the viewer and wait until its heading is there and nothing says that it is being read."""
    page.emulate_media(color_scheme=theme)
    page.goto(path)
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page has its heading and nothing on it is being read."""
    expect(page.locator("main h1").first).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=re.compile(r"^(Reading|Opening) .* …$"))).to_have_count(0)


def assert_accessible(page: Page, *, within: str | None = None) -> None:
    """Let axe look at the page, or at a part of it by selector: no serious finding (WCAG 2.2 A and AA)."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    answer: dict[str, Any] = page.evaluate(
        """within => axe.run(within ?? document, {
            resultTypes: ["violations"],
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        })""",
        within,
    )
    serious = [v for v in answer["violations"] if v["impact"] in {"serious", "critical"}]
    told = [
        f"{v['impact']} {v['id']}: {v['help']}\n    "
        + "\n    ".join(f"{node['html'][:160]} {node['failureSummary'][:300]}" for node in v["nodes"][:4])
        for v in serious
    ]
    assert not told, f"axe at {page.url}:\n" + "\n".join(told)


def tab_to(page: Page, target: Locator, *, most: int = 120) -> None:
    """Press Tab until the target has the focus, and see that the focus is visible."""
    expect(target).to_be_visible()
    for _ in range(most):
        page.keyboard.press("Tab")
        if target.evaluate("e => e === document.activeElement"):
            assert target.evaluate(_IS_RINGED), "the focus is not visible"
            return
    raise AssertionError(f"{most} times Tab did not reach {target}")


_IS_RINGED = """e => {
    const s = getComputedStyle(e);
    return (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none";
}"""


def focus_order(page: Page, *, most: int = 120) -> list[str]:
    """Return what Tab passes from the top of the page, as tag and text, until it comes round."""
    passed: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => { const e = document.activeElement;
            return e === document.body ? "" :
                `${e.tagName.toLowerCase()} ${e.getAttribute("aria-label") ?? e.textContent.trim()}`; }"""
        )
        if not at or at in passed[:1]:
            return passed
        passed.append(at)
    return passed


def paint_media(page: Page) -> None:
    """Paint media across the middle, where the vessel has none."""
    page.get_by_role("radio", name="media").check()
    box = page.locator(".deep-zoom-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 10, steps=8)
    page.mouse.up()


def measured(page: Page, name: str) -> Locator:
    """The row of a measure in the first table that has it."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True)).first
