"""Every page of the viewer opens on a filled stack, passes axe in both themes, and its calls can be typed."""

import re
import shutil
import subprocess

import pytest
from browsing import LAPTOP, assert_accessible, settle, visit
from playwright.sync_api import Page, expect
from viewer_routes import ROUTES, filled


@pytest.mark.parametrize("route", ROUTES)
def test_it_opens_fits_a_laptop_and_passes_axe_in_both_themes(
    page: Page, request: pytest.FixtureRequest, route: str
) -> None:
    visit(page, filled(route, request))
    _assert_whole(page)
    assert_accessible(page)
    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    settle(page)
    assert_accessible(page)
    page.get_by_role("button", name="Same by API").click()
    lines = page.get_by_role("dialog").locator("pre")
    expect(lines.first).to_be_visible()
    _assert_runs(lines.all_inner_texts())


def _assert_whole(page: Page) -> None:
    for text in ("There is no such page", "This page broke", "A defect of the viewer"):
        expect(page.get_by_text(text)).to_have_count(0)
    expect(page.locator(".notice.bad")).to_have_count(0)
    expect(page).to_have_title(re.compile(r".+ · Intima"))
    expect(page.locator("h1")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= LAPTOP["width"]


def _assert_runs(lines: list[str]) -> None:
    """Type the curl lines that read, in a shell."""
    assert lines
    if shutil.which("curl") is None:
        return
    reads = [line for line in lines if line.startswith("curl") and not re.search(r"\s(-[XdFo]|--data-binary) ", line)]
    answers = {line: _status(line) for line in reads}
    assert set(answers.values()) <= {"200"}, answers


def _status(line: str) -> str:
    command = f"{line} --silent --max-time 60 --output /dev/null --write-out '%{{http_code}}'"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
