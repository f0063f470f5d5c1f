"""An installation that asks for tokens: signing in, a wrong token, and that the token stays in its tab."""

from collections.abc import Iterator

import pytest
from api_servers import http_server
from browsing import Watch, assert_accessible, tab_to, visit, watched_page
from playwright.sync_api import Browser, Page, expect

from services.api.app import create_app
from services.api.settings import Settings

TOKEN = "a-token-of-the-laboratory-for-the-tests"


@pytest.fixture(scope="module")
def origin(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), port=59999, auth="tokens", admin_token=TOKEN)
    with http_server(create_app(settings)) as address:
        yield f"http://{address}"


@pytest.fixture
def guarded(browser: Browser, origin: str) -> Iterator[Page]:
    """A page of an installation that asks for tokens."""
    watch = Watch(origin)
    watch.allow("status of 401")
    with watched_page(browser, origin, watch) as found:
        yield found


def sign_in(page: Page, token: str) -> None:
    dialog = page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name="Sign in").click()


def test_a_stranger_is_asked_and_a_wrong_token_is_refused(guarded: Page) -> None:
    visit(guarded, "/")
    dialog = guarded.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    assert_accessible(guarded)
    sign_in(guarded, "not-a-token-of-this-laboratory")
    expect(dialog.get_by_role("alert")).to_be_visible()
    expect(dialog).to_be_visible()


def test_the_right_token_opens_everything_and_stays_in_the_tab(guarded: Page) -> None:
    visit(guarded, "/")
    sign_in(guarded, TOKEN)
    expect(guarded.get_by_text("No slide yet.")).to_be_visible()
    expect(guarded.get_by_role("dialog")).to_have_count(0)
    visit(guarded, "/")
    expect(guarded.get_by_text("No slide yet.")).to_be_visible()
    assert guarded.evaluate("JSON.stringify(localStorage)").find(TOKEN) == -1
    assert guarded.context.cookies() == []
    other = guarded.context.new_page()
    visit(other, "/")
    expect(other.get_by_role("dialog", name="Sign in")).to_be_visible()


def test_the_token_is_in_no_address_and_in_no_line_that_is_shown(guarded: Page) -> None:
    asked: list[str] = []
    guarded.on("request", lambda request: asked.append(request.url))
    visit(guarded, "/")
    sign_in(guarded, TOKEN)
    expect(guarded.get_by_text("No slide yet.")).to_be_visible()
    guarded.get_by_role("button", name="Same by API").click()
    lines = guarded.get_by_role("dialog").inner_text()
    assert "$INTIMA_TOKEN" in lines
    assert TOKEN not in lines
    assert not [url for url in asked if TOKEN in url]


def test_one_signs_in_and_out_by_keyboard(guarded: Page) -> None:
    visit(guarded, "/")
    dialog = guarded.get_by_role("dialog", name="Sign in")
    tab_to(guarded, dialog.get_by_label("Token"))
    guarded.keyboard.type(TOKEN)
    guarded.keyboard.press("Enter")
    expect(guarded.get_by_text("No slide yet.")).to_be_visible()
    leave = guarded.get_by_role("button", name="Sign out")
    tab_to(guarded, leave)
    guarded.keyboard.press("Enter")
    expect(leave).to_have_count(0)
    assert guarded.evaluate("sessionStorage.length") == 0
