"""The first page: what it shows, by mouse and by keyboard, and that it asks nobody else."""

import pytest
from browsing import Theme, assert_accessible, focus_order, tab_to, visit
from local_stack import Stack
from playwright.sync_api import Page, expect

from tests.browser.conftest import section


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_readable_in_both_themes(page: Page, theme: Theme) -> None:
    visit(page, "/", theme=theme)
    expect(page.get_by_role("heading", level=1)).to_have_text("Intima")
    assert page.locator("html").get_attribute("data-theme") == theme
    assert_accessible(page)


def test_it_lists_what_is_new(page: Page, stack: Stack) -> None:
    slide = stack.upload_slide("newest-synthetic.png", section(8101), mpp="3.0", subject="newest")
    visit(page, "/")
    link = page.get_by_role("link", name=slide["name"]).first
    assert link.get_attribute("href") == f"/slides/{slide['id']}"


def test_the_keyboard_reaches_everything(page: Page) -> None:
    visit(page, "/")
    passed = focus_order(page)
    assert passed[0] == "a To the content"
    assert {"a Slides", "a Benchmarks", "button Same by API", "a Upload slides"} <= set(passed)


def test_the_theme_stays(page: Page) -> None:
    visit(page, "/")
    switch = page.get_by_role("button", name="Dark theme")
    tab_to(page, switch)
    page.keyboard.press("Enter")
    visit(page, "/")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_the_skip_link_leads_to_the_content(page: Page) -> None:
    visit(page, "/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
