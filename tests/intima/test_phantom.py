"""The phantom: exact truth, determinism, alike sections, shifted sets, and colours in the right place."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import ndimage

from intima.errors import Invalid
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY
from intima.metrics import score_case
from intima.morphometry import measure_vessels
from intima.phantom import (
    Anatomy,
    Degradation,
    PhantomSpec,
    PhantomTruth,
    Shift,
    draw_specs,
    phantom_cases,
    render,
)

CLEAN = Degradation(noise=0.0, illumination=0.0, tears=0, folds=0, shadows=0, blood=0.0)


@pytest.fixture(scope="module")
def cases():
    return list(phantom_cases(draw_specs(seed=5, subjects=6, size_px=384, mpp=2.0)))


@pytest.fixture(scope="module")
def clean():
    return render(PhantomSpec(size_px=512, mpp=1.5, anatomy=Anatomy(neointima_eccentricity=0.2), degradation=CLEAN))


def test_shapes_and_types(cases):
    for named, phantom in cases:
        assert phantom.image.shape == (named.spec.size_px, named.spec.size_px, 3)
        assert phantom.image.dtype == phantom.mask.dtype == np.uint8
        assert phantom.mask.shape == phantom.image.shape[:2]
        assert set(np.unique(phantom.mask)) <= {0, 1, 2, 3}


def test_mask_areas_are_those_of_the_borders(cases):
    """Counted pixels differ from the analytic areas by rounding along the borders only."""
    for named, phantom in cases:
        truth, pixel = phantom.truth, named.spec.mpp**2
        assert [np.count_nonzero(phantom.mask == k) for k in (1, 2, 3)] == [
            truth.lumen_px,
            truth.neointima_px,
            truth.media_px,
        ]
        for pixels, area, border in (
            (truth.lumen_px, truth.lumen_um2, truth.lumen_perimeter_um),
            (truth.neointima_px, truth.neointima_um2, truth.lumen_perimeter_um + truth.iel_perimeter_um),
            (truth.media_px, truth.media_um2, truth.iel_perimeter_um + truth.eel_perimeter_um),
        ):
            border_px = border / named.spec.mpp
            assert abs(pixels - area / pixel) < 3 * np.sqrt(border_px / 12) + 3


def test_truth_is_consistent(cases):
    for _, phantom in cases:
        t = phantom.truth
        assert t.iel_um2 == pytest.approx(t.lumen_um2 + t.neointima_um2)
        assert t.eel_um2 == pytest.approx(t.iel_um2 + t.media_um2)
        assert t.intima_media_ratio == pytest.approx(t.neointima_um2 / t.media_um2)
        assert t.stenosis_percent == pytest.approx(100 * t.neointima_um2 / t.iel_um2)


def test_morphometry_of_the_mask_finds_the_truth():
    pairs = {
        "lumen_area": "lumen_um2",
        "neointimal_area": "neointima_um2",
        "medial_area": "media_um2",
        "iel_area": "iel_um2",
        "eel_area": "eel_um2",
        "lumen_perimeter": "lumen_perimeter_um",
        "iel_perimeter": "iel_perimeter_um",
        "eel_perimeter": "eel_perimeter_um",
    }
    for _, phantom in phantom_cases(draw_specs(seed=8, subjects=4)):
        (vessel,) = measure_vessels(phantom.mask, schema=ARTERY, mpp=MicronsPerPixel(1.0, 1.0))
        found = {m.name: m.value for m in vessel.measures}
        for name, field in pairs.items():
            relative = 0.01 if "perimeter" in name else 0.004
            assert found[name] == pytest.approx(getattr(phantom.truth, field), rel=relative, abs=40.0), name
        assert found["intima_media_ratio"] == pytest.approx(phantom.truth.intima_media_ratio, abs=0.01)
        assert found["stenosis"] == pytest.approx(phantom.truth.stenosis_percent, abs=0.2)


def test_layers_are_nested_and_closed():
    specs = draw_specs(seed=21, subjects=12, size_px=256, mpp=3.0)
    for named, phantom in phantom_cases(specs):
        mask = phantom.mask
        outside = ndimage.binary_dilation(mask == 0)
        touching = np.count_nonzero(outside & ((mask == 1) | (mask == 2)))
        assert touching == 0, named
        assert ndimage.label(mask > 0)[1] == 1
        assert not np.any(ndimage.binary_fill_holes(mask > 0) & (mask == 0))


def test_equal_specs_give_equal_bytes():
    (named,) = draw_specs(seed=3, subjects=1, size_px=128, mpp=6.0)
    first, second = render(named.spec), render(named.spec)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.truth == second.truth


def test_a_longer_set_begins_with_the_shorter():
    assert draw_specs(seed=4, subjects=5, sections_per_subject=2)[:6] == draw_specs(
        seed=4, subjects=3, sections_per_subject=2
    )
    assert draw_specs(seed=4, subjects=3) != draw_specs(seed=5, subjects=3)


def test_names_are_unique_and_group_by_subject():
    specs = draw_specs(seed=0, subjects=3, sections_per_subject=4)
    assert len({(s.subject, s.section) for s in specs}) == 12
    assert len({s.subject for s in specs}) == 3


def test_sections_of_a_subject_are_alike_and_subjects_are_not():
    specs = draw_specs(seed=2, subjects=8, sections_per_subject=2, size_px=128, mpp=6.0)
    stenosis = np.array([p.truth.stenosis_percent for _, p in phantom_cases(specs)]).reshape(8, 2)
    within, between = stenosis.std(axis=1, ddof=1).mean(), stenosis.mean(axis=1).std(ddof=1)
    assert within < 0.4 * between
    assert not np.any(stenosis[:, 0] == stenosis[:, 1])


def test_sets_cover_the_range_of_disease():
    specs = [s.spec for s in draw_specs(seed=1, subjects=60)]
    assert any(s.anatomy.neointima == 0 for s in specs)
    assert any(s.anatomy.neointima > 0.5 for s in specs)
    assert any(s.anatomy.neointima_eccentricity > 1 for s in specs)
    assert any(s.anatomy.aspect < 0.7 for s in specs)


def test_a_bare_artery_has_no_neointima():
    phantom = render(PhantomSpec(size_px=256, mpp=3.0, anatomy=Anatomy(neointima=0.0)))
    assert phantom.truth.neointima_px == 0
    assert phantom.truth.stenosis_percent == 0


def test_eccentric_neointima_leaves_media_bare():
    phantom = render(PhantomSpec(size_px=384, mpp=2.0, anatomy=Anatomy(neointima=0.3, neointima_eccentricity=1.3)))
    assert np.any(ndimage.binary_dilation(phantom.mask == 1) & (phantom.mask == 3))
    assert phantom.truth.neointima_px > 0


def test_more_neointima_means_more_stenosis():
    values = [
        render(PhantomSpec(size_px=128, mpp=6.0, anatomy=Anatomy(neointima=n))).truth.stenosis_percent
        for n in (0.0, 0.1, 0.3, 0.5, 0.8)
    ]
    assert values == sorted(values)
    assert values[-1] > 90


def test_pixel_size_changes_the_picture_and_not_the_anatomy():
    coarse, fine = (render(PhantomSpec(size_px=n, mpp=768 / n)).truth for n in (192, 768))
    for field in fields(PhantomTruth):
        if not field.name.endswith("_px"):
            assert getattr(coarse, field.name) == pytest.approx(getattr(fine, field.name))


def test_colours_are_those_of_the_stain(clean):
    """Palette of an EVG stain: pale lumen, pink-tan neointima, yellow-brown media with black laminae."""
    median = {k: np.median(clean.image[clean.mask == k], axis=0) for k in (1, 2, 3)}
    assert median[1].min() > 230
    red, green, blue = median[2]
    assert red > green >= blue - 25
    assert 130 < median[2].mean() < 225
    red, green, blue = median[3]
    assert red > green > blue
    assert median[3].mean() < median[2].mean()
    media = clean.image[clean.mask == 3].mean(axis=1)
    assert np.mean(media < 70) > 0.05
    ring = ndimage.binary_dilation(clean.mask > 0, iterations=12) & (clean.mask == 0)
    red, green, blue = np.median(clean.image[ndimage.binary_erosion(ring, iterations=2)], axis=0)
    assert red > blue > green
    assert red - green > 60


def test_the_internal_lamina_lies_on_the_border(clean):
    """The darkest line near the neointima/media border lies within the first three µm of the media."""
    iel = (clean.mask == 1) | (clean.mask == 2)
    depth = ndimage.distance_transform_edt(~iel) - ndimage.distance_transform_edt(iel)
    near = (np.abs(depth) < 9) & (clean.mask > 1)
    level = clean.image.mean(axis=2)
    profile = {d: level[near & (np.rint(depth) == d)].mean() for d in range(-6, 7) if d != 0}
    assert min(profile, key=profile.get) in (1, 2)


def test_shift_knobs_move_the_picture_only():
    (plain,) = draw_specs(seed=6, subjects=1, size_px=256, mpp=3.0)
    (moved,) = draw_specs(seed=6, subjects=1, size_px=256, mpp=3.0, shift=Shift(stain=1.0, blur_um=6.0, resolution=2.0))
    before, after = render(plain.spec), render(moved.spec)
    np.testing.assert_array_equal(before.mask, after.mask)
    assert before.truth == after.truth

    def sharpness(image):
        return np.abs(np.diff(image.mean(axis=2), axis=0)).mean()

    assert sharpness(after.image) < 0.6 * sharpness(before.image)
    assert np.abs(before.image.astype(float).mean((0, 1)) - after.image.mean((0, 1))).max() > 2


@pytest.mark.parametrize(
    "knob",
    [
        {"noise": 0.05},
        {"illumination": 0.2},
        {"tears": 3},
        {"folds": 2},
        {"shadows": 2},
        {"blood": 1.0},
        {"blur_um": 3},
    ],
)
def test_every_degradation_shows_and_leaves_the_truth_alone(knob, clean):
    worse = render(
        PhantomSpec(
            size_px=512, mpp=1.5, anatomy=Anatomy(neointima_eccentricity=0.2), degradation=replace(CLEAN, **knob)
        )
    )
    assert not np.array_equal(worse.image, clean.image)
    np.testing.assert_array_equal(worse.mask, clean.mask)


def test_tears_and_folds_stay_outside_the_wall(clean):
    torn = render(
        PhantomSpec(
            size_px=512,
            mpp=1.5,
            anatomy=Anatomy(neointima_eccentricity=0.2),
            degradation=replace(CLEAN, tears=4, folds=3),
        )
    )
    changed = np.any(torn.image != clean.image, axis=2)
    assert np.count_nonzero(changed & (clean.mask == 0)) > 100
    assert not np.any(changed & ndimage.binary_erosion(clean.mask > 0, iterations=3))


def test_the_mask_scores_perfectly_against_itself(cases):
    _, phantom = cases[0]
    rows = score_case(phantom.mask, phantom.mask, schema=ARTERY, mpp=2.0)
    assert {r.value for r in rows if r.metric == "dice"} == {1.0}


@pytest.mark.parametrize(
    "spec",
    [
        {"anatomy": Anatomy(eel_radius_um=500.0)},
        {"anatomy": Anatomy(center=(0.1, 0.5))},
        {"anatomy": Anatomy(media_um=240.0)},
        {"anatomy": Anatomy(wave_um=60.0)},
        {"anatomy": Anatomy(neointima=0.6, neointima_eccentricity=3.0)},
    ],
)
def test_impossible_anatomy_is_refused(spec):
    with pytest.raises(Invalid):
        render(PhantomSpec(**spec))


@pytest.mark.parametrize("spec", [{"size_px": 10}, {"mpp": 0.0}, {"mpp": float("nan")}])
def test_impossible_sizes_are_refused(spec):
    with pytest.raises(Invalid):
        PhantomSpec(**spec)


def test_empty_sets_are_refused():
    with pytest.raises(Invalid):
        draw_specs(seed=0, subjects=0)
    with pytest.raises(Invalid):
        draw_specs(seed=0, subjects=1, sections_per_subject=0)
