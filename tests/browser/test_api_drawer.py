"""Same by API: what is shown is what one types."""

import subprocess
import sys

from browsing import assert_accessible, tab_to, visit
from playwright.sync_api import Page, expect


def test_it_opens_closes_and_copies_by_keyboard(page: Page) -> None:
    visit(page, "/")
    opener = page.get_by_role("button", name="Same by API")
    tab_to(page, opener)
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Same by API")
    expect(drawer).to_be_visible()
    assert_accessible(page)
    copy = drawer.get_by_role("button", name="Copy the curl lines").first
    tab_to(page, copy)
    page.keyboard.press("Enter")
    expect(copy).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl")
    page.keyboard.press("Escape")
    expect(drawer).not_to_be_visible()
    expect(opener).to_be_focused()


def test_the_python_lines_run(page: Page) -> None:
    visit(page, "/")
    page.get_by_role("button", name="Same by API").click()
    lines = page.get_by_role("dialog").locator("pre").filter(has_text="import httpx").first.inner_text()
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert (done.returncode, "'items'" in done.stdout) == (0, True), done.stderr
