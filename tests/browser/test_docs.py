"""/docs shows every operation from our own files, under the viewer's policy."""

from playwright.sync_api import Page, expect


def test_the_docs_ask_no_other_host(page: Page) -> None:
    answer = page.goto("/docs")
    assert answer is not None
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    expect(page.get_by_role("heading", name="Intima api")).to_be_visible()
    page.locator(".opblock-tag, .opblock").first.wait_for()
    assert page.locator(".opblock").count() > 50


def test_an_operation_can_be_tried(page: Page) -> None:
    page.goto("/docs")
    block = page.locator(".opblock", has_text="/readyz")
    block.locator("button").first.click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
