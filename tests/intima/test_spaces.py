"""Search spaces: defaults inside, changes checked at submission, every refusal names its field."""

import pytest

from intima.architectures import ARCHITECTURES, complete_architecture
from intima.contracts.benchmark import ArchitectureWish, SearchSpec
from intima.contracts.search import Choices
from intima.errors import Invalid
from intima.losses import LOSSES
from intima.spaces import (
    LOSS_WEIGHTS,
    OPTIMISERS,
    PARAMETERS,
    apply_parameters,
    complete_space,
    default_space,
    defaults_of,
    variants,
)
from intima.training.loop import OPTIMISERS as TORCH_OPTIMISERS
from intima.training.presets import PRESETS

UNET = complete_architecture(ArchitectureWish(name="unet"))


def space(**changes):
    return complete_space(UNET, SearchSpec.model_validate({"space": changes}).space)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_a_space_with_its_default_inside(name):
    for parameter, dimension in default_space(name).items():
        assert parameter in PARAMETERS
        assert dimension.low <= dimension.default <= dimension.high


def test_the_tables_without_torch_name_what_torch_has():
    assert set(LOSS_WEIGHTS) == set(LOSSES)
    assert set(OPTIMISERS) == set(TORCH_OPTIMISERS)


def test_changes_override_and_add():
    changed = space(dropout={"low": 0.2, "high": 0.4}, encoder={"choices": ["resnet18", "resnet34"]})
    assert (changed["dropout"].low, changed["dropout"].high) == (0.2, 0.4)
    assert changed["dropout"].default == pytest.approx(0.3)
    assert changed["encoder"] == Choices(choices=("resnet18", "resnet34"), default="resnet18")
    assert changed["learning_rate"] == default_space("unet")["learning_rate"]
    assert defaults_of(space(batch={"low": 2, "high": 8, "int": True}))["batch"] == 5


def test_the_architectures_default_is_kept_where_it_lies_inside():
    assert defaults_of(space(dropout={"low": 0.0, "high": 0.2}))["dropout"] == 0.1
    assert defaults_of(space(input_px={"choices": [128, 256]}))["input_px"] == 256
    assert defaults_of(space(dropout={"low": 0.0, "high": 0.2, "default": 0.15}))["dropout"] == 0.15


def test_weights_that_no_loss_reads_are_left_out():
    changed = space(loss={"choices": ["tversky"]}, tversky_miss={"low": 0.3, "high": 0.9})
    assert "focal_gamma" not in changed
    assert {"loss", "tversky_miss"} <= set(changed)


def test_a_frozen_encoder_has_fixed_views_and_no_augmentation_to_search():
    frozen = complete_architecture(ArchitectureWish(name="unet", encoder_training="frozen"))
    assert "augmentation" not in complete_space(frozen, {})


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("learning_speed", {"low": 0, "high": 1}),
        ("dropout", {"low": 0.4, "high": 0.2}),
        ("dropout", {"low": 0.0, "high": 1.0}),
        ("dropout", {"low": 0.0, "high": 0.5, "log": True}),
        ("dropout", {"low": 0.2, "high": 0.4, "default": 0.1}),
        ("dropout", {"choices": [0.1, 0.1]}),
        ("dropout", {"choices": ["much"]}),
        ("optimiser", {"choices": ["adamw", "lion"]}),
        ("optimiser", {"low": 0, "high": 1}),
        ("batch", {"low": 1.5, "high": 4}),
        ("encoder", {"choices": [18]}),
        ("tversky_miss", {"low": 0.3, "high": 0.7}),
        ("input_px", {"choices": [100]}),
        ("input_px", {"low": 64, "high": 128}),
        ("learning_rate", {"low": 0.0, "high": 1e-2}),
    ],
)
def test_nonsense_is_refused_with_its_field(name, dimension):
    with pytest.raises(Invalid) as error:
        space(**{name: dimension})
    assert error.value.pointer == f"/search/space/{name}"
    assert error.value.code == "bad_search_space"
    assert "Got" in str(error.value)


@pytest.mark.parametrize("batch", [{"low": 1, "high": 8}, {"choices": [4, 1]}])
def test_a_batch_that_an_architecture_cannot_be_trained_with_is_refused(batch):
    """One crop has no statistics where batch normalisation sees one pixel of it."""
    changes = {"batch": SearchSpec.model_validate({"space": {"batch": batch}}).space["batch"]}
    assert "batch" in complete_space(UNET, changes)
    with pytest.raises(Invalid, match="deeplabv3plus is trained with at least 2") as error:
        complete_space(complete_architecture(ArchitectureWish(name="deeplabv3plus")), changes)
    assert error.value.pointer == "/search/space/batch"


def test_the_presets_have_crops_enough_for_every_architecture():
    fewest = max(known.fewest_crops for known in ARCHITECTURES.values())
    assert all(settings.batch >= fewest for settings in PRESETS.values())


def test_an_encoder_that_the_architecture_has_not_is_refused():
    with pytest.raises(Invalid, match="vgg_of_mine"):
        space(encoder={"choices": ["resnet18", "vgg_of_mine"]})


def test_parameters_change_what_is_built():
    built = apply_parameters(UNET, {"encoder": "resnet18", "input_px": 128, "dropout": 0.3})
    assert (built.encoder, built.input_px, built.name) == ("resnet18", 128, "unet")
    assert apply_parameters(UNET, {"dropout": 0.3}) == UNET
    both = space(encoder={"choices": ["resnet18", "resnet34"]}, input_px={"choices": [96, 128]})
    assert {(v.encoder, v.input_px) for v in variants(UNET, both)} == {
        ("resnet18", 96),
        ("resnet18", 128),
        ("resnet34", 96),
        ("resnet34", 128),
    }
    assert variants(UNET, space()) == [UNET]
