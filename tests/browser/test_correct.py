"""A mask is corrected in the browser: painted, measured beside the original, saved, listed; also by keyboard alone."""

import json
import re
import time
from typing import Any

import pytest
from browsing import Watch, assert_accessible, measured, paint_media, visit
from local_stack import Stack
from playwright.sync_api import Page, expect

from tests.browser.conftest import section

BUSY_MS = 60_000


@pytest.fixture
def mask(stack: Stack, model: dict[str, Any]) -> dict[str, Any]:
    """A segmentation of a slide that nobody else corrects, by one pass."""
    slide = stack.upload_slide(f"correct-{time.time_ns()}.png", section(time.time_ns() % 1000), mpp="3.0", subject="C1")
    body = {"model": f"{model['name']}@{model['version']}", "uncertainty": {"sampler": "none"}}
    started = stack.post(f"/v1/slides/{slide['id']}/segmentations", body)
    stack.finished(started["job"])
    return dict(stack.get(f"/v1/segmentations/{started['id']}"))


def open_editor(page: Page, mask: dict[str, Any]) -> None:
    visit(page, f"/slides/{mask['slide']}/correct/{mask['id']}")
    expect(page.get_by_text("Compared with the model's mask.")).to_be_visible(timeout=BUSY_MS)


def test_painting_changes_measures_and_is_saved_as_a_version(page: Page, stack: Stack, mask: dict[str, Any]) -> None:
    open_editor(page, mask)
    expect(measured(page, "Media area")).to_contain_text("same")
    assert_accessible(page)
    paint_media(page)
    expect(page.get_by_text("pixels changed")).to_be_visible()
    expect(measured(page, "Media area")).to_contain_text("+", timeout=BUSY_MS)
    page.get_by_label("Note for this version").fill("a test wrote this")
    page.get_by_role("button", name="Save as version 1").click()
    expect(page.get_by_text("files are written")).to_be_visible(timeout=BUSY_MS)
    page.get_by_role("tab", name="Versions").click()
    row = page.get_by_role("row").filter(has_text="Version 1")
    expect(row).to_contain_text("a test wrote this")
    versions = stack.get(f"/v1/segmentations/{mask['id']}/corrections")
    made = stack.get(f"/v1/segmentations/{versions['newest']}")
    assert (made["correction"]["source"], made["correction"]["note"]) == ("mask", "a test wrote this")
    media = [next(a["pixels"] for a in view["areas"] if a["name"] == "media") for view in (mask, made)]
    assert media[1] > media[0]
    page.get_by_role("button", name="Go on from version 1").click()
    expect(page.get_by_text("Compared with version 1.")).to_be_visible(timeout=BUSY_MS)


def test_undo_redo_and_a_reload_lose_nothing(page: Page, mask: dict[str, Any]) -> None:
    open_editor(page, mask)
    paint_media(page)
    changed = page.locator(".save-panel").get_by_text("pixels changed")
    expect(changed).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.get_by_text("Nothing changed yet")).to_be_visible()
    page.keyboard.press("Control+Shift+Z")
    expect(changed).to_be_visible()
    expect(measured(page, "Media area")).to_contain_text("+", timeout=BUSY_MS)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.get_by_text("Unsaved changes were kept")).to_be_visible(timeout=BUSY_MS)
    expect(changed).to_be_visible()
    page.get_by_role("link", name="Back to the slide").click()
    dialog = page.get_by_role("dialog", name="Your changes are not saved")
    dialog.get_by_role("button", name="Stay").click()
    page.get_by_role("button", name="Drop them").click()
    expect(page.get_by_text("Nothing changed yet")).to_be_visible()


def test_all_of_it_by_keyboard(page: Page, mask: dict[str, Any]) -> None:
    open_editor(page, mask)
    page.locator(".openseadragon-canvas").first.focus()
    for key in ("b", "3", "]", "]", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_text("pixels changed")).to_be_visible()
    before = page.locator(".save-panel").inner_text()
    for key in ("d", *["Shift+ArrowDown"] * 3, "d"):
        page.keyboard.press(key)
    expect(page.locator(".save-panel")).not_to_have_text(before)
    page.keyboard.press("g")
    for key in ("Space", *["Shift+ArrowLeft"] * 2, "Space", *["Shift+ArrowUp"] * 2, "Space", "Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Control+s")
    expect(page.locator(".save-panel").get_by_text("Saved as version 1")).to_be_visible(timeout=BUSY_MS)


def test_who_is_second_puts_his_changes_on_top(page: Page, stack: Stack, mask: dict[str, Any], watch: Watch) -> None:
    watch.allow("status of 409")
    open_editor(page, mask)
    paint_media(page)
    path = f"/v1/segmentations/{mask['id']}"
    outlines = stack.get(f"{path}/artefacts/annotations.geojson")
    other = stack.post(f"{path}/corrections?base={mask['id']}&note=colleague", outlines)
    stack.finished(other["job"])
    page.get_by_role("button", name="Save as version").click()
    expect(page.get_by_text("Somebody saved another version meanwhile")).to_be_visible(timeout=BUSY_MS)
    expect(page.get_by_text("“colleague”")).to_be_visible()
    page.get_by_role("button", name="Put my changes on top of it").click()
    expect(page).to_have_url(re.compile(other["id"]), timeout=BUSY_MS)
    expect(page.get_by_text("Compared with version 1.")).to_be_visible(timeout=BUSY_MS)
    expect(page.get_by_text("pixels changed")).to_be_visible()


def test_geojson_comes_back_from_qupath(page: Page, stack: Stack, mask: dict[str, Any], watch: Watch) -> None:
    watch.allow("status of 422")
    text = stack.get(f"/v1/segmentations/{mask['id']}/artefacts/annotations.geojson")
    text["features"][0]["properties"].pop("classification")
    open_editor(page, mask)
    page.get_by_role("tab", name="Versions").click()
    import_it = page.get_by_label("Corrected GeoJSON")
    import_it.set_input_files({"name": "x.geojson", "mimeType": "text/plain", "buffer": b'{"type": "Nothing"}'})
    expect(page.get_by_role("alert")).to_be_visible()
    good = json.dumps(text).encode()
    import_it.set_input_files({"name": "x.geojson", "mimeType": "text/plain", "buffer": good})
    expect(page.get_by_text("1 shapes need a class")).to_be_visible(timeout=BUSY_MS)
    page.get_by_role("button", name="Save x.geojson as version 1").click()
    expect(page.get_by_role("row").filter(has_text="imported from x.geojson")).to_be_visible(timeout=BUSY_MS)
