"""A benchmark from the form to its results, live; refusals stand where they belong; pages of data sets and searches."""

import io
import json
import re
import zipfile
from typing import Any

import numpy as np
import pytest
from browsing import assert_accessible, settle, tab_to, visit
from local_stack import Stack
from playwright.sync_api import Locator, Page, expect

from intima.phantom import draw_specs, render
from services.demo import png

LONG_MS = 300_000


def open_form(page: Page, dataset: dict[str, Any]) -> None:
    visit(page, f"/benchmarks/new?dataset={dataset['id']}")


def choose(page: Page, *names: str) -> None:
    """Check architectures and make them small: no pretrained weights, few pixels."""
    for name in names:
        page.get_by_role("checkbox", name=re.compile(rf"^{name} ")).check()
    page.get_by_text("Encoder, weights and input of each").click()
    for name in names:
        fields = page.get_by_role("group", name=name, exact=True)
        fields.get_by_label("Encoder", exact=True).fill("resnet18")
        fields.get_by_label("Start weights").select_option("random")
        fields.get_by_label("Input size (px)").fill("64")


def search_fields(page: Page) -> Locator:
    page.get_by_text("Search, seeds, second data set").click()
    return page.get_by_role("group", name="Search", exact=True)


def test_a_benchmark_goes_from_the_form_over_live_progress_to_a_verdict(
    page: Page, stack: Stack, dataset: dict[str, Any], benchmark: dict[str, Any]
) -> None:
    assert benchmark["state"] == "succeeded"  # else this one would wait behind it
    open_form(page, dataset)
    choose(page, "unet", "fpn")
    page.get_by_label("Kind").select_option(label="k folds")
    page.get_by_label("Folds").fill("2")
    search_fields(page).get_by_label("Trials", exact=True).fill("1")
    page.get_by_role("checkbox", name="Publish").uncheck()
    page.get_by_role("button", name="Start the benchmark").click()
    page.wait_for_url(re.compile(r"/benchmarks/bmk_\w+$"))
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("unet, fpn")
    log = page.get_by_role("list", name="Log")
    expect(log).to_contain_text("started", timeout=LONG_MS)
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    expect(page.get_by_text("alive").first).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_role("img", name=re.compile("Training loss"))).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_role("table", name="Contenders")).to_contain_text("selection-biased", timeout=LONG_MS)
    assert_accessible(page)
    expect(page.get_by_label("State").get_by_text("succeeded")).to_be_visible(timeout=LONG_MS)
    benchmark = stack.get(f"/v1/benchmarks/{page.url.rpartition('/')[2]}")
    assert benchmark["spec"]["architectures"][0]["input_px"] == 64
    assert benchmark["spec"]["search"]["trials"] == 1
    page.get_by_role("link", name="Results", exact=True).click()
    page.wait_for_url(f"**/benchmarks/{benchmark['id']}/results**")
    page.get_by_role("link", name="Compare two of them").click()
    page.wait_for_url("**/compare?**")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare two models")
    page.get_by_label("Margin", exact=False).first.fill("0.05")
    page.get_by_role("button", name="Read the verdict").click()
    expect(page.get_by_test_id("verdict-sentence")).to_contain_text("unet", timeout=LONG_MS)


def test_what_is_wrong_is_marked_at_its_field_and_the_keyboard_is_there(
    page: Page, watch: Any, dataset: dict[str, Any]
) -> None:
    watch.allow("status of 422")
    open_form(page, dataset)
    choose(page, "unet")
    page.get_by_label("Kind").select_option(label="k folds")
    page.get_by_label("Folds").fill("1")
    page.get_by_role("button", name="Start the benchmark").click()
    wrong = page.get_by_label("Folds")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("1 field above needs another value")
    assert_accessible(page)


def test_a_half_filled_form_is_in_the_url(page: Page, dataset: dict[str, Any]) -> None:
    open_form(page, dataset)
    page.get_by_role("radio", name="paper").check()
    page.get_by_role("checkbox", name=re.compile("^linknet ")).check()
    visit(page, page.url)
    expect(page.get_by_role("radio", name="paper")).to_be_checked()
    expect(page.get_by_role("checkbox", name=re.compile("^linknet "))).to_be_checked()


@pytest.fixture(scope="session")
def overlapping(stack: Stack) -> dict[str, Any]:
    """Four synthetic subjects of which two show the same tissue, one of them turned."""
    return dict(stack.once("overlapping", lambda: stack.get(f"/v1/datasets/{_overlapping(stack)}")))


def _overlapping(stack: Stack) -> str:
    one, *others = [render(s.spec) for s in draw_specs(seed=9, subjects=3, size_px=512, mpp=2.0)]
    parts = {
        "a": (one.image[:380, :380], one.mask[:380, :380]),
        "b": (np.rot90(one.image[100:480, 90:470]), np.rot90(one.mask[100:480, 90:470])),
        **{f"c{n}": (other.image, other.mask) for n, other in enumerate(others)},
    }
    colors = ("#000000", "#56b4e9", "#e69f00", "#cc79a7")
    names = ("background", "lumen", "neointima", "media")
    manifest = {
        "name": "overlapping synthetic arteries",
        "licence": "CC0-1.0 (synthetic)",
        "classes": [{"index": n, "name": names[n], "color": colors[n]} for n in range(4)],
        "cases": [{"image": f"{n}.png", "mask": f"{n}-mask.png", "subject": f"mouse {n}"} for n in parts],
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr("manifest.json", json.dumps(manifest))
        for name, (image, mask) in parts.items():
            bundle.writestr(f"{name}.png", png(np.ascontiguousarray(image)))
            bundle.writestr(f"{name}-mask.png", png(np.ascontiguousarray(mask)))
    return str(stack.upload_dataset(out.getvalue())["id"])


def test_a_leakage_refusal_shows_both_images(page: Page, watch: Any, overlapping: dict[str, Any]) -> None:
    watch.allow("status of 422")
    open_form(page, overlapping)
    choose(page, "unet")
    page.get_by_role("button", name="Start the benchmark").click()
    pair = page.get_by_role("region", name="a.png and b.png")
    expect(pair).to_contain_text("The same tissue: the fields of view overlap")
    for name in ("a.png", "b.png"):
        image = pair.get_by_role("img", name=re.compile(name))
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 380
    assert_accessible(page)


def test_a_dataset_shows_its_images_masks_and_what_is_alike(page: Page, overlapping: dict[str, Any]) -> None:
    visit(page, f"/datasets/{overlapping['id']}")
    expect(page.get_by_role("heading", name=re.compile("1 pair of two subjects"))).to_be_visible()
    subject = page.get_by_role("region", name="mouse c1")
    mask = subject.get_by_role("img", name="Its mask")
    mask.scroll_into_view_if_needed()
    assert mask.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.get_by_label("with their masks").uncheck()
    expect(mask).to_have_count(0)
    assert_accessible(page)


def test_the_view_of_a_search_by_keyboard(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/search")
    choice = page.get_by_label("Which search")
    tab_to(page, choice)
    first = choice.input_value()
    page.keyboard.press("ArrowDown")
    expect(choice).not_to_have_value(first)
    assert "study=" in page.url
    expect(page.get_by_role("table", name="Every trial of this search")).to_contain_text("best")
    expect(page.get_by_role("img", name=re.compile("Circles: inner score"))).to_be_visible()


def test_a_job_tells_its_units_and_its_log(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, f"/jobs/{benchmark['job']}")
    expect(page.get_by_role("list", name="Log")).to_contain_text("The job is succeeded.")
    expect(page.get_by_role("table", name="Units")).to_contain_text("unet: kfold2, fold 0, scored")
    page.get_by_role("link", name="To its page").click()
    page.wait_for_url(f"**/benchmarks/{benchmark['id']}")
