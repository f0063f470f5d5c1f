"""The main job of a lab person: a section comes in, is segmented, looked at, corrected, and its numbers change."""

import re
import time
from pathlib import Path
from typing import Any

from browsing import assert_accessible, measured, paint_media, settle, tab_to, visit
from local_stack import Stack
from playwright.sync_api import Page, expect

from tests.browser.conftest import section

BUSY_MS = 120_000


def new_section(folder: Path, stem: str) -> Path:
    """Write a section that nobody uploaded before."""
    path = folder / f"{stem}-{time.time_ns()}.png"
    path.write_bytes(section(time.time_ns() % 100_000))
    return path


def test_upload_segment_see_correct_and_the_measures_change(page: Page, stack: Stack, tmp_path: Path) -> None:
    file = new_section(tmp_path, "flow")
    visit(page, "/slides")
    page.get_by_label("Subject", exact=True).fill("Rat 1")
    page.get_by_label("Slide files").set_input_files(file)
    page.get_by_label(f"{file.name}: µm per pixel").fill("3.0")
    page.get_by_role("button", name="Save pixel size").click()
    line = page.get_by_role("row").filter(has_text=file.name)
    expect(line).to_contain_text("3 µm per pixel", timeout=BUSY_MS)

    line.get_by_role("link", name="Segment", exact=True).click()
    page.get_by_role("radio", name=re.compile("phantom-unet")).check()
    expect(page.get_by_text(re.compile(r"At most \d+ network runs"))).to_be_visible()
    page.get_by_role("button", name="Segment 1 slide").click()
    page.get_by_role("link", name="Look at the mask").click(timeout=BUSY_MS)

    page.wait_for_url(re.compile(r"/slides/sld_\w+\?.*seg=seg_"))
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(file.name)
    expect(measured(page, "Media area")).to_contain_text(re.compile(r"µm².*\(.+ to .+\)"))
    before = measured(page, "Media area").inner_text()
    shown = _picture(page)
    page.get_by_role("checkbox", name=re.compile("^media")).uncheck()
    _await_another(page, shown)
    assert_accessible(page)

    page.get_by_role("link", name="Correct the mask").click()
    expect(page.get_by_text("Compared with the model's mask.")).to_be_visible(timeout=BUSY_MS)
    paint_media(page)
    expect(measured(page, "Media area")).to_contain_text("+", timeout=BUSY_MS)
    page.get_by_role("button", name="Save as version 1").click()
    expect(page.get_by_text("files are written")).to_be_visible(timeout=BUSY_MS)

    version = _newest_version(stack, page)
    visit(page, f"/slides/{version['slide']}?seg={version['id']}")
    expect(measured(page, "Media area")).to_be_visible()
    assert measured(page, "Media area").inner_text() != before


def test_the_same_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    file = new_section(tmp_path, "keys")
    page.on("filechooser", lambda chooser: chooser.set_files(file))  # from the start: asked for late, it comes late
    visit(page, "/slides")
    tab_to(page, page.get_by_role("button", name="Choose files"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label(f"{file.name}: µm per pixel"))
    page.keyboard.type("3.0")
    page.keyboard.press("Enter")
    line = page.get_by_role("row").filter(has_text=file.name)
    expect(line).to_contain_text("3 µm per pixel", timeout=BUSY_MS)

    tab_to(page, line.get_by_role("link", name="Segment", exact=True))
    page.keyboard.press("Enter")
    settle(page)
    start = page.get_by_role("button", name="Segment 1 slide")
    tab_to(page, start)
    page.keyboard.press("Enter")
    look = page.get_by_role("link", name="Look at the mask")
    expect(look).to_be_visible(timeout=BUSY_MS)
    tab_to(page, look)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(file.name)
    expect(measured(page, "Lumen area")).to_be_visible()
    lumen = page.get_by_role("checkbox", name=re.compile("^lumen"))
    tab_to(page, lumen)
    page.keyboard.press("Space")
    expect(lumen).not_to_be_checked()


def _picture(page: Page) -> bytes:
    """Return the slide as it is drawn, once it stays the same."""
    canvas = page.locator(".openseadragon-canvas").first
    last = b""
    for _ in range(60):
        now = canvas.screenshot()
        if now == last:
            return now
        last = now
        page.wait_for_timeout(300)
    return last


def _await_another(page: Page, old: bytes) -> None:
    canvas = page.locator(".openseadragon-canvas").first
    for _ in range(60):
        if canvas.screenshot() != old:
            return
        page.wait_for_timeout(200)
    raise AssertionError("the slide looks as before")


def _newest_version(stack: Stack, page: Page) -> Any:
    found = re.search(r"/slides/(sld_\w+)/correct/(seg_\w+)", page.url)
    assert found is not None
    newest = stack.get(f"/v1/segmentations/{found[2]}/corrections")["newest"]
    return stack.get(f"/v1/segmentations/{newest}")
