"""Results, comparisons, plans, the planner and cards: what they say is what the services answer."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browsing import assert_accessible, tab_to, visit
from local_stack import Stack
from playwright.sync_api import Page, expect

VIEWS = {
    "Would it happen again?": "stability",
    "Differences": "differences",
    "Best and worst fold": "folds",
    "Search noise": "search",
    "External data": "external",
    "Reports and files": "files",
}
MINUTE = 60_000
ARCHITECTURES = ("unet", "deeplabv3plus")


def ranking(stack: Stack, benchmark: dict[str, Any], **asked: Any) -> Any:
    body = {
        "benchmark": benchmark["id"],
        "protocol": benchmark["leaderboard"][0]["protocol"],
        "metric": "dice",
        "class": "macro",
    }
    return stack.post("/v1/rankings", body | asked)


def compare_path(benchmark: dict[str, Any], **more: str) -> str:
    sides = {"a": f"{benchmark['id']}/unet", "b": f"{benchmark['id']}/deeplabv3plus"}
    return "/compare?" + "&".join(f"{name}={quote(value)}" for name, value in (sides | more).items())


def test_the_ranking_is_said_first_and_no_winner_as_plainly_as_one(
    page: Page, stack: Stack, benchmark: dict[str, Any]
) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results")
    found = ranking(stack, benchmark)
    expect(page.get_by_test_id("ranking-sentence")).to_have_text(found["sentence"])
    badge = "No winner" if found["winner"] is None else f"{found['winner']} is first"
    expect(page.get_by_label("The answer").locator(".badge")).to_contain_text(badge)
    expect(page.get_by_role("row").filter(has_text="Tier 1").first).to_be_visible()


def test_metric_class_and_margin_stand_in_the_address(page: Page, stack: Stack, benchmark: dict[str, Any]) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results?metric=hd95&class=media&margin=3")
    found = ranking(stack, benchmark, **{"metric": "hd95", "class": "media", "margin": {"value": 3}})
    expect(page.get_by_test_id("ranking-sentence")).to_have_text(found["sentence"])
    expect(page.get_by_text(found["choice"]["sentence"])).to_be_visible()
    expect(page.get_by_label("Margin (µm)")).to_have_value("3")


def test_the_parts_of_the_results_open_by_keyboard(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results")
    tab_to(page, page.get_by_role("tab", name="Leaderboard"))
    for label, view in VIEWS.items():
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=label)).to_be_focused()
        expect(page).to_have_url(re.compile(f"view={view}"))
        expect(page.get_by_role("tabpanel")).not_to_be_empty()
    assert_accessible(page)


@pytest.mark.parametrize("view", ["stability", "differences"])
def test_figures_of_the_service_are_drawn(page: Page, benchmark: dict[str, Any], view: str) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results?view={view}")
    figure = page.locator(".paper img").first
    expect(figure).to_be_visible()
    page.wait_for_function("document.querySelector('.paper img').naturalWidth > 100")


@pytest.mark.parametrize(
    ("button", "start"), [("Report (PDF)", b"%PDF"), ("Report (HTML)", b"<!"), ("scores.csv", b"case,subject")]
)
def test_files_can_be_taken_along(
    page: Page, benchmark: dict[str, Any], tmp_path: Path, button: str, start: bytes
) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results?view=files")
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    waiting.value.save_as(tmp_path / "file")
    assert (tmp_path / "file").read_bytes().startswith(start)


def test_the_best_fold_is_set_beside_the_worst(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, f"/benchmarks/{benchmark['id']}/results?view=folds")
    page.get_by_role("button", name="Explain its best and worst fold").click()
    expect(page).to_have_url(re.compile("explanation=exp_"))
    expect(page.get_by_text("succeeded")).to_be_visible(timeout=6 * MINUTE)
    expect(page.get_by_test_id("paradox")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Show subject")).first.click()
    expect(page.get_by_role("heading", name="Uncertainty: did it know?")).to_be_visible()
    expect(page.get_by_text("of the section is wrong")).to_be_visible()
    assert_accessible(page)


def test_a_verdict_by_keyboard_only(page: Page, stack: Stack, benchmark: dict[str, Any]) -> None:
    visit(page, "/compare")
    for name, architecture in (("a", "unet"), ("b", "deeplabv3plus")):
        tab_to(page, page.get_by_label(f"Model {name} (required)"))
        expect(page.locator(f"option[value='{benchmark['id']}/{architecture}']")).to_have_count(2)
        page.keyboard.type(architecture)
    tab_to(page, page.get_by_label("Margin (required)"))
    page.keyboard.type("0.02")
    page.keyboard.press("Enter")
    sides = {
        side: {"benchmark": benchmark["id"], "architecture": a} for side, a in zip("ab", ARCHITECTURES, strict=True)
    }
    found = stack.post("/v1/comparisons", sides | {"margin": {"value": 0.02}})
    expect(page.get_by_test_id("verdict-sentence")).to_have_text(found["sentence"])
    page.reload()
    expect(page.get_by_test_id("verdict-sentence")).to_have_text(found["sentence"])
    assert_accessible(page)


def test_another_margin_takes_the_verdict_away_until_it_is_asked_for(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, compare_path(benchmark, margin="0.02", ask="1"))
    expect(page.get_by_test_id("verdict")).to_be_visible()
    page.get_by_label("Margin (required)").fill("0.2")
    expect(page.get_by_test_id("verdict")).to_have_count(0)
    page.get_by_role("button", name="Read the verdict").click()
    expect(page.get_by_test_id("verdict-sentence")).to_contain_text("0.2")


def test_without_a_margin_nothing_is_asked(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, compare_path(benchmark))
    page.get_by_role("button", name="Read the verdict").click()
    expect(page.get_by_label("The question").get_by_text("State the margin")).to_be_visible()
    expect(page.get_by_test_id("verdict")).to_have_count(0)


def test_a_plan_is_locked_and_counts_its_uses(page: Page, benchmark: dict[str, Any]) -> None:
    visit(page, compare_path(benchmark, margin="0.037", metric="iou"))
    page.get_by_role("button", name="Lock this as a plan").click()
    page.get_by_label("Title of the plan").fill("A trial")
    page.get_by_role("button", name="Lock the plan").click()
    expect(page.get_by_text("The plan fixes: IoU (macro), margin ±0.037")).to_be_visible()
    page.get_by_role("button", name="Read the verdict").click()
    expect(page.get_by_text("before the plan was locked").first).to_be_visible()
    page.get_by_role("link", name="the plan", exact=True).click()
    expect(page.get_by_role("heading", name="Plan: A trial")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="exploratory")).to_have_count(1)


def test_scores_of_ones_own_are_compared_and_what_is_no_number_is_named(page: Page) -> None:
    visit(page, "/compare?margin=0.1")
    for name in "ab":
        page.get_by_label(f"Model {name} (required)").select_option("scores")
        page.get_by_label(f"Name of model {name}").fill(f"mine-{name}")
    page.get_by_label("Scores of model a").fill("m1, 0.9\nm2, 0.8\nm3, 0.85\nm4, 0.7")
    page.get_by_label("Scores of model b").fill("m1, 0.91\nm2, good")
    expect(page.get_by_text('Line 2: "good" is no number.')).to_be_visible()
    page.get_by_label("Scores of model b").fill("m1, 0.91\nm2, 0.79\nm3, 0.86\nm4, 0.7")
    page.get_by_role("button", name="Read the verdict").click()
    expect(page.get_by_test_id("verdict-sentence")).to_contain_text("mine-a")
    expect(page.get_by_test_id("verdict")).to_have_text(re.compile("Equivalent"))


def test_the_planner_answers_while_one_types(page: Page) -> None:
    visit(page, "/planner")
    sentence = page.get_by_test_id("power-sentence")
    expect(sentence).to_contain_text("With 9 subjects")
    page.get_by_label("Subjects", exact=True).fill("30")
    expect(sentence).to_contain_text("With 30 subjects")
    expect(page).to_have_url(re.compile("n=30"))
    page.get_by_label("Subjects", exact=True).fill("1.5")
    expect(page.get_by_text("Give a whole number from 2 up.")).to_be_visible()
    expect(page.locator(".chart svg").first).to_be_visible()


def test_where_rankings_settle(page: Page) -> None:
    visit(page, "/planner?view=rankings&sets=200&numbers=5,9")
    expect(page.get_by_test_id("stability-sentence")).to_contain_text("On 5 subjects")
    page.get_by_label("How far each model is behind the best").fill("0.1, 0.2")
    expect(page.get_by_text("The best model has a gap of 0.")).to_be_visible()


def test_a_card_says_what_is_synthetic_and_takes_an_alias(page: Page, stack: Stack, model: dict[str, Any]) -> None:
    visit(page, f"/models/{model['name']}/{model['version']}")
    expect(page.get_by_text("Trained on SYNTHETIC arteries only")).to_be_visible()
    tab_to(page, page.get_by_label("New alias"))
    page.keyboard.type("tried")
    page.keyboard.press("Enter")
    expect(page.get_by_text("@tried", exact=True)).to_be_visible()
    assert stack.get(f"/v1/models/{model['name']}@tried")["version"] == model["version"]


def test_a_package_comes_back_as_the_same_version(page: Page, model: dict[str, Any], tmp_path: Path) -> None:
    visit(page, f"/models/{model['name']}/{model['version']}")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download package").click()
    waiting.value.save_as(tmp_path / "model.zip")
    visit(page, "/models")
    page.get_by_label("Package (zip)").set_input_files(tmp_path / "model.zip")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page).to_have_url(re.compile(f"/models/{model['name']}/{model['version']}"), timeout=MINUTE)
