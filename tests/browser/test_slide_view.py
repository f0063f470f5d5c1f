"""The slide view: layers by key without fetching, measures with what they mean, two side by side, a part again."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import Theme, assert_accessible, visit
from local_stack import Stack
from playwright.sync_api import Page, Request, expect


@pytest.fixture(scope="module")
def other(stack: Stack, slide: dict[str, Any], model: dict[str, Any], segmentation: dict[str, Any]) -> dict[str, Any]:
    """The same slide by one pass of the same model: nearly the same mask."""
    body = {"model": segmentation["model"], "uncertainty": {"sampler": "none"}}
    started = stack.post(f"/v1/slides/{slide['id']}/segmentations", body)
    stack.finished(started["job"])
    found: dict[str, Any] = stack.get(f"/v1/segmentations/{started['id']}")
    return found


def path(segmentation: dict[str, Any], more: str = "") -> str:
    return f"/slides/{segmentation['slide']}?seg={segmentation['id']}{more}"


def open_view(page: Page, url: str, *, theme: Theme = "light") -> None:
    visit(page, url, theme=theme)
    expect(page.get_by_text(re.compile("^(centre|pointer) ")).first).to_be_visible()
    page.wait_for_load_state("networkidle")


def middle(page: Page) -> list[int]:
    """The colour in the middle of the picture."""
    page.wait_for_timeout(400)
    found: list[int] = page.evaluate(
        """() => {
            const canvas = document.querySelector(".deep-zoom-canvas canvas");
            const [x, y] = [canvas.width >> 1, canvas.height >> 1];
            return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
        }"""
    )
    return found


@pytest.fixture
def tiles(page: Page) -> Iterator[list[str]]:
    """What is fetched of masks from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/layers/mask_files/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    yield asked
    page.remove_listener("request", note)


def test_a_class_is_hidden_by_its_key_and_nothing_is_fetched_again(
    page: Page, segmentation: dict[str, Any], tiles: list[str]
) -> None:
    open_view(page, path(segmentation))
    with_mask = middle(page)
    assert tiles
    assert len(tiles) == len(set(tiles)), "three classes share one download of each tile"
    before = len(tiles)
    for key in "123":
        page.keyboard.press(key)
    expect(page.get_by_role("checkbox", name=re.compile("lumen"))).not_to_be_checked()
    assert middle(page) != with_mask
    assert "layers=" in page.url
    page.get_by_label("Opacity of lumen").press("ArrowRight")
    page.keyboard.press("End")
    for key in "23":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert len(tiles) == before
    page.reload()
    expect(page.get_by_label("Opacity of lumen")).to_have_value("100")


def test_single_keys_can_be_turned_off(page: Page, segmentation: dict[str, Any]) -> None:
    """WCAG 2.1.4: who speaks to the computer must not hide a class with every word."""
    open_view(page, path(segmentation))
    lumen = page.get_by_role("checkbox", name=re.compile("lumen"))
    switch = page.get_by_label("Keys work by themselves")
    switch.uncheck()
    page.keyboard.press("1")
    expect(lumen).to_be_checked()
    page.reload()
    expect(switch).not_to_be_checked()
    switch.check()
    page.keyboard.press("1")
    expect(lumen).not_to_be_checked()


def test_numbers_have_units_intervals_and_what_these_mean(page: Page, segmentation: dict[str, Any]) -> None:
    open_view(page, path(segmentation))
    panel = page.get_by_role("complementary", name="What was found")
    expect(panel.get_by_role("rowheader", name="Lumen area")).to_be_visible()
    expect(panel.get_by_text("prediction interval").first).to_be_visible()
    expect(panel.get_by_text("synthetic phantoms only").first).to_be_visible()
    expect(page.get_by_text("Calibration measured on synthetic images only")).to_be_visible()


def test_without_uncertainty_it_says_not_measured(page: Page, other: dict[str, Any]) -> None:
    open_view(page, path(other))
    expect(page.get_by_text("Not measured: this segmentation was made with one pass")).to_be_visible()
    expect(page.get_by_label("Opacity of Entropy")).to_have_count(0)


def test_an_angle_of_the_thickness_plot_is_shown_on_the_slide(page: Page, segmentation: dict[str, Any]) -> None:
    open_view(page, path(segmentation))
    slider = page.get_by_label("Show an angle on the slide")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".deep-zoom-shapes line.line")).to_have_count(1)
    expect(page.get_by_text(re.compile(r"1° \(right\): intima"))).to_be_visible()
    assert "angle=1" in page.url


def test_two_side_by_side_move_together_and_their_difference_is_counted(
    page: Page, segmentation: dict[str, Any], other: dict[str, Any]
) -> None:
    open_view(page, path(segmentation, "&tab=compare"))
    page.get_by_label("Compare with").select_option(other["id"])
    expect(page.get_by_role("region", name="Segmentation B")).to_be_visible()
    expect(page.get_by_text("A and B agree on")).to_be_visible()
    expect(page.get_by_role("rowheader", name="neointima").first).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_role("checkbox", name=re.compile("Difference"))).to_be_checked()
    first = page.get_by_role("application").first
    first.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(700)
    texts = page.get_by_text(re.compile("^centre ")).all_inner_texts()
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert "at=" in page.url
    page.reload()
    expect(page.get_by_role("region", name="Segmentation B")).to_be_visible()


def test_a_part_is_segmented_again_after_its_cost_was_said(page: Page, segmentation: dict[str, Any]) -> None:
    open_view(page, path(segmentation, "&tab=region"))
    page.get_by_role("button", name="Draw a rectangle").click()
    box = page.locator(".deep-zoom-draw").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=4)
    page.mouse.up()
    expect(page.locator(".deep-zoom-draw")).to_have_count(0)
    assert "region=" in page.url
    page.get_by_label("Width").fill("128")
    page.get_by_label("Height").fill("128")
    page.get_by_label("Height").press("Tab")
    expect(page.get_by_text("network runs")).to_be_visible()
    page.get_by_role("button", name="Segment this region").click()
    page.get_by_role("button", name="Show its mask").click(timeout=120_000)
    expect(page.get_by_role("checkbox", name=re.compile("lumen"))).to_be_visible()
    assert segmentation["id"] not in page.url


def test_files_are_saved_under_the_name_of_the_slide(page: Page, segmentation: dict[str, Any]) -> None:
    open_view(page, path(segmentation, "&tab=files"))
    with page.expect_download() as saved:
        page.get_by_role("button", name="measures.csv").click()
    assert saved.value.suggested_filename == "synthetic-a-measures.csv"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tab", ["measures", "compare", "region", "files"])
def test_it_is_accessible(
    page: Page, segmentation: dict[str, Any], other: dict[str, Any], theme: Theme, tab: str
) -> None:
    more = f"&b={other['id']}" if tab == "compare" else ""
    open_view(page, path(segmentation, f"&tab={tab}{more}"), theme=theme)
    assert_accessible(page)


def test_the_review_queue_says_why_and_leads_to_the_mask(
    page: Page, segmentation: dict[str, Any], other: dict[str, Any]
) -> None:
    visit(page, "/review")
    row = page.get_by_role("row").filter(has_text="Expected Dice").filter(has_text="synthetic-a.png").first
    expect(row.get_by_role("rowheader")).to_contain_text("synthetic-a.png")
    expect(page.get_by_text("not measured").first).to_be_visible()
    assert_accessible(page)
    row.get_by_role("link", name="synthetic-a.png").click()
    page.wait_for_url(re.compile("/slides/.*seg="))
