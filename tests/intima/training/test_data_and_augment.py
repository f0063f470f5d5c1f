"""Working resolution, mask resampling, and augmentation that moves image and mask alike."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from intima.benchmark.recipe import resolution_of
from intima.contracts.benchmark import ArchitectureSpec, Seeds, Split, StudyRef
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.errors import Invalid
from intima.geometry import Size
from intima.training.augment import CropSource, draw_batch, vary_colour
from intima.training.data import Resolution, TrainingCase, resample_mask, working_resolution
from intima.training.seeds import derive_seed

CLASSES = tuple(ClassSpec(index=n, name=f"class {n}", color="#000000") for n in range(2))


def case(width: int, height: int, mpp: float | None = None, *, name: str = "") -> StoredCase:
    return StoredCase(
        case=name or f"{width}x{height}",
        subject="a",
        block=None,
        section=None,
        mpp=mpp,
        width=width,
        height=height,
        image_sha256="0" * 64,
        mask_sha256="0" * 64,
    )


def test_the_typical_long_side_becomes_the_input_size():
    cases = [case(1000, 500), case(800, 2000), case(400, 1200)]
    resolution = working_resolution(cases, input_px=300)
    assert resolution.mpp is None
    assert resolution.pixel_scale == pytest.approx(0.25)
    assert resolution.working_size(cases[2]) == Size(100, 300)


def test_with_pixel_sizes_every_case_comes_to_the_same_micrometres():
    cases = [case(1000, 1000, 0.5), case(500, 500, 1.0), case(1000, 1000, 1.0)]
    resolution = working_resolution(cases, input_px=250)
    assert resolution.mpp == pytest.approx(2.0)
    assert [resolution.working_size(c).width for c in cases] == [250, 250, 500]


def test_images_are_never_enlarged():
    assert working_resolution([case(100, 80)], input_px=256).pixel_scale == 1.0
    assert working_resolution([case(100, 80, 2.0)], input_px=256).mpp == 2.0


def test_one_case_without_a_pixel_size_makes_it_unknown():
    assert working_resolution([case(100, 80, 1.0), case(100, 80)], input_px=64).mpp is None


@pytest.mark.parametrize("held_out", range(4))
def test_one_case_without_a_pixel_size_decides_for_all_folds_whoever_is_held_out(held_out: int) -> None:
    """Some folds would else be trained in micrometres and some in pixels, and so not be of one model."""
    cases = [case(100, 80, 1.0, name=f"c{n}") for n in range(3)] + [case(100, 80, name="c3")]
    made = Dataset(id="ds_1", version="1" * 64, name="d", licence="CC0", classes=CLASSES, cases=tuple(cases))
    train = tuple(c.case for c in cases if c.case != f"c{held_out}")
    split = Split(protocol="loocv", repeat=0, fold=held_out, train=train, test=(f"c{held_out}",))
    architecture = ArchitectureSpec(name="unet_small")
    seeds = Seeds(split=0, init=0, augmentation=0)
    study = StudyRef(architecture=architecture, label="u", seed=0, seeds=seeds, split=split)
    assert resolution_of(made, study, input_px=64) == Resolution(mpp=None, pixel_scale=0.64)


def test_no_cases_are_refused():
    with pytest.raises(Invalid, match="at least one"):
        working_resolution([], input_px=256)


@settings(max_examples=40)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(8, 64), st.integers(8, 64), st.integers(0, 99))
def test_resampled_masks_hold_known_classes_and_keep_halves_in_place(height, width, new_height, new_width, seed):
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 3
    small = resample_mask(mask, Size(new_width, new_height), classes=4)
    assert small.shape == (new_height, new_width)
    assert set(np.unique(small)) <= {0, 3}
    assert abs((small == 3).mean() - (mask == 3).mean()) <= 1 / new_width + 1e-9


def test_a_disc_keeps_its_area_within_a_percent():
    y, x = np.mgrid[:1000, :1000] - 499.5
    small = resample_mask((np.hypot(x, y) < 300).astype(np.uint8), Size(250, 250), classes=2)
    assert small.sum() * 16 == pytest.approx(np.pi * 300**2, rel=0.01)


def painted(rng: np.random.Generator, height: int = 90, width: int = 120) -> TrainingCase:
    """The image tells the class: red is class 1, green class 2, black class 0."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    mask[np.hypot(x - rng.uniform(30, 90), y - rng.uniform(30, 60)) < 28] = 1
    mask[: height // 3, : width // 3] = 2
    image = np.stack([(mask == 1) * 255, (mask == 2) * 255, np.zeros_like(mask)], -1).astype(np.uint8)
    return TrainingCase(image=image, mask=mask)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.7, 1.5]))
@example(299, 0.0)
def test_image_and_mask_stay_together(seed, strength):
    rng = np.random.default_rng(seed)
    source = CropSource.of([painted(rng), painted(rng, 70, 64)], classes=3)
    from intima.training.augment import draw_crop  # the geometry alone: colours keep telling the class

    image, mask = draw_crop(source, crop_px=48, strength=strength, rng=rng)
    told = torch.where(image[0, 0] > 0.5, 1.0, torch.where(image[0, 1] > 0.5, 2.0, 0.0))
    truth = mask[:, 0].float()  # judged where no other class is near: interpolated borders alone can take 3 %
    inside = (functional.max_pool2d(truth, 3, 1, 1) == -functional.max_pool2d(-truth, 3, 1, 1))[0]
    assert (told == mask[0, 0])[inside].float().mean() > 0.97


def test_same_generator_same_batch_and_another_differs():
    source = CropSource.of([painted(np.random.default_rng(0))], classes=3)
    draws = [
        draw_batch(source, batch=3, crop_px=32, strength=1.0, rng=np.random.default_rng(seed)) for seed in (4, 4, 5)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[2][0])
    images, masks = draws[0]
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert masks.shape == (3, 32, 32)
    assert masks.dtype == torch.int64
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_a_rare_class_is_drawn_as_often_as_a_common_one():
    mask = np.zeros((200, 200), np.uint8)
    mask[5:9, 5:9] = 1
    source = CropSource.of([TrainingCase(np.zeros((200, 200, 3), np.uint8), mask)], classes=2)
    rng = np.random.default_rng(0)
    batches = [draw_batch(source, batch=4, crop_px=48, strength=0.0, rng=rng)[1] for _ in range(40)]
    share = float(torch.cat(batches).flatten(1).any(dim=1).float().mean())
    assert 0.35 < share < 0.75


def test_images_smaller_than_the_crop_and_classes_that_never_occur_work():
    source = CropSource.of([painted(np.random.default_rng(1), 40, 30)], classes=6)
    images, masks = draw_batch(source, batch=2, crop_px=64, strength=1.0, rng=np.random.default_rng(0))
    assert images.shape[-1] == 64
    assert torch.isfinite(images).all()
    assert int(masks.max()) <= 2


def test_colour_at_strength_zero_is_untouched_and_else_stays_in_range():
    images = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert vary_colour(images, strength=0.0, rng=np.random.default_rng(0)) is images
    changed = vary_colour(images, strength=1.5, rng=np.random.default_rng(0))
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert not torch.allclose(changed[0] - images[0], changed[1] - images[1])


def test_seeds_depend_on_every_part_its_type_and_order():
    parts = [("a", 1), (1, "a"), ("a", "1"), ("a", 1, 0), ("a1",)]
    seeds = [derive_seed(*p) for p in parts]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**31 for s in seeds)
