"""The fixtures themselves: what a page must not do is seen."""

import pytest
from browsing import Watch, assert_accessible, visit
from playwright.sync_api import Page

BAD = (
    "document.querySelector('main').innerHTML = '<h1>x</h1><img src=\"/favicon.svg\"><p style=\"color:#ddd\">pale</p>'"
)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("console.error('a mishap')", "console: a mishap"),
        ("setTimeout(() => { throw new Error('a mishap') })", "uncaught: .*a mishap"),
        ("fetch('/v1/jobs/none')", "console: .*status of 404"),
        ("fetch('http://example.org/x').catch(() => 0)", "Content Security Policy"),
        ("void window.open('http://example.org/x')", "another host: http://example.org/x"),
        (
            "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))",
            "Content Security Policy",
        ),
    ],
)
def test_what_a_page_must_not_do_is_seen(page: Page, watch: Watch, script: str, said: str) -> None:
    visit(page, "/")
    page.evaluate(script)
    page.wait_for_timeout(300)
    watch.allow(said)
    assert watch.found
    watch.assert_clean()
    watch.allowed.clear()
    with pytest.raises(AssertionError, match=said):
        watch.assert_clean()
    watch.allow("")


def test_axe_finds_what_is_bad(page: Page) -> None:
    visit(page, "/")
    page.evaluate(BAD)
    with pytest.raises(AssertionError, match=r"image-alt(.|\n)*color-contrast|color-contrast(.|\n)*image-alt"):
        assert_accessible(page)
