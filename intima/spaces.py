"""What can be searched, between which ends, and the default space of each architecture. Needs no framework."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from pydantic import ValidationError

from intima.architectures import ARCHITECTURES, check_architecture
from intima.contracts.benchmark import ArchitectureSpec
from intima.contracts.search import Choices, Dimension, ParameterValue, Range, Space
from intima.errors import Invalid

LOSS_WEIGHTS: dict[str, tuple[str, ...]] = {
    "focal_dice": ("focal_gamma", "dice_weight"),
    "cross_entropy": ("label_smoothing",),
    "tversky": ("tversky_miss",),
}
"""Searchable weights by loss, the default loss first; the same names as ``intima.losses.LOSSES``."""
OPTIMISERS = ("adamw", "adam", "sgd")
PROMPT_TOKENS = "prompt_tokens"
_BUILT = ("encoder", "input_px")
"""Parameters that change what is built."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one parameter may be at all."""

    lowest: float = 0.0
    highest: float = 1.0
    counted: bool = False
    """Whole numbers only."""
    names: tuple[str, ...] | None = None
    """The values where they are names and this list is complete."""
    chosen: bool = False
    """Given as choices only: names, and sizes that a net must allow."""


PARAMETERS: dict[str, Parameter] = {
    "learning_rate": Parameter(1e-7, 1.0),
    "weight_decay": Parameter(0.0, 1.0),
    "optimiser": Parameter(names=OPTIMISERS, chosen=True),
    "batch": Parameter(1, 64, counted=True),
    "loss": Parameter(names=tuple(LOSS_WEIGHTS), chosen=True),
    "focal_gamma": Parameter(0.0, 10.0),
    "dice_weight": Parameter(),
    "label_smoothing": Parameter(0.0, 0.5),
    "tversky_miss": Parameter(),
    "augmentation": Parameter(0.0, 3.0),
    "dropout": Parameter(0.0, 0.9),
    "encoder": Parameter(chosen=True),
    "input_px": Parameter(64, 2048, counted=True, chosen=True),
    PROMPT_TOKENS: Parameter(1, 64, counted=True),
}
"""Everything that can be searched."""

_DEFAULT: Space = {
    "learning_rate": Range(low=5e-4, high=1e-2, log=True, default=4e-3),
    "weight_decay": Range(low=1e-5, high=1e-1, log=True, default=1e-3),
    "dropout": Range(low=0.0, high=0.5, default=0.1),
    "focal_gamma": Range(low=0.0, high=3.0, default=1.0),
    "dice_weight": Range(low=0.0, high=1.0, default=0.5),
    "augmentation": Range(low=0.0, high=1.5, default=0.7),
}
_PROMPTED: Space = {
    "learning_rate": Range(low=2e-3, high=3e-2, log=True, default=1e-2),
    PROMPT_TOKENS: Range(low=2, high=32, log=True, integer=True, default=8),
}
"""The rate is that of the prompts and the readout; the parts of the foundation model have a small share of it."""


def default_space(architecture: str) -> Space:
    """Return the search space of an architecture where a benchmark changes nothing."""
    return _DEFAULT | (_PROMPTED if ARCHITECTURES[architecture].has_prompts else {})


def complete_space(spec: ArchitectureSpec, changes: Mapping[str, Dimension]) -> Space:
    """Return the space of one contender: its architecture's default with these changes, every default filled in.

    What the contender cannot use is left out: prompt tokens without prompts, the strength of the augmentation where
    a frozen encoder is trained on fixed views, and weights that no loss in the space reads.

    Raises:
        Invalid: an unknown name, ends the wrong way round or out of bounds, an illegal choice, a default outside, a
            batch that this architecture cannot be trained with.
    """
    for name, dimension in changes.items():
        _check(name, dimension)
    _refuse_unread(changes)
    known = _known_defaults(spec)
    space = {name: _filled(name, d, known.get(name)) for name, d in {**default_space(spec.name), **changes}.items()}
    space = {name: d for name, d in space.items() if _is_usable(name, spec, space)}
    _require_crops(spec, space.get("batch"))
    for variant in variants(spec, space):
        check_architecture(variant)
    return space


def defaults_of(space: Space) -> dict[str, ParameterValue]:
    """Return the parameters used without a search, and by trial 0."""
    return {name: d.default for name, d in space.items() if d.default is not None}


def apply_parameters(spec: ArchitectureSpec, parameters: Mapping[str, ParameterValue]) -> ArchitectureSpec:
    """Return the architecture that is built under these parameters: encoder and input size may be searched.

    >>> apply_parameters(ArchitectureSpec(name="unet"), {"encoder": "resnet18", "dropout": 0.2}).encoder
    'resnet18'

    Raises:
        Invalid: an input size that no net can have.
    """
    built = {name: parameters[name] for name in _BUILT if name in parameters}
    try:
        return ArchitectureSpec.model_validate(spec.model_dump() | built)
    except ValidationError as error:
        raise _invalid("input_px", f"Got {built}; {error.errors()[0]['msg']}") from error


def variants(spec: ArchitectureSpec, space: Space) -> list[ArchitectureSpec]:
    """Return every architecture that a search of this space can build."""
    built = {name: d.choices for name, d in space.items() if name in _BUILT and isinstance(d, Choices)}
    return [apply_parameters(spec, dict(zip(built, values, strict=True))) for values in product(*built.values())]


def _known_defaults(spec: ArchitectureSpec) -> dict[str, ParameterValue]:
    usual: dict[str, ParameterValue] = {"loss": next(iter(LOSS_WEIGHTS)), "optimiser": OPTIMISERS[0]}
    return usual | defaults_of(default_space(spec.name)) | {"encoder": spec.encoder, "input_px": spec.input_px}


def _is_usable(name: str, spec: ArchitectureSpec, space: Space) -> bool:
    if name == PROMPT_TOKENS:
        return ARCHITECTURES[spec.name].has_prompts
    if name == "augmentation":
        return spec.encoder_training != "frozen"
    return name not in _all_loss_weights() or name in _weights_read(space)


def _all_loss_weights() -> set[str]:
    return {weight for weights in LOSS_WEIGHTS.values() for weight in weights}


def _weights_read(space: Mapping[str, Dimension]) -> set[str]:
    loss = space.get("loss")
    losses = loss.choices if isinstance(loss, Choices) else (next(iter(LOSS_WEIGHTS)),)
    return {weight for name in losses for weight in LOSS_WEIGHTS[str(name)]}


def _refuse_unread(changes: Mapping[str, Dimension]) -> None:
    unread = sorted((set(changes) & _all_loss_weights()) - _weights_read(changes))
    if unread:
        owner = next(loss for loss, weights in LOSS_WEIGHTS.items() if unread[0] in weights)
        raise _invalid(unread[0], f"Got {unread[0]}, which only the loss {owner} reads; add {owner} to the losses.")


def _require_crops(spec: ArchitectureSpec, batch: Dimension | None) -> None:
    """Refuse batches smaller than the architecture can be trained with."""
    fewest = ARCHITECTURES[spec.name].fewest_crops
    smallest = batch.low if isinstance(batch, Range) else min((float(c) for c in batch.choices) if batch else (fewest,))
    if smallest < fewest:
        raise _invalid("batch", f"Got a batch of {smallest:g}; {spec.name} is trained with at least {fewest}.")


def _check(name: str, dimension: Dimension) -> None:
    if name not in PARAMETERS:
        raise _invalid(name, f"Got {name!r}; need one of {', '.join(PARAMETERS)}.")
    if isinstance(dimension, Range):
        _check_range(name, dimension)
    elif len(set(dimension.choices)) < len(dimension.choices):
        raise _invalid(name, f"Got a choice of {name} twice: {', '.join(map(str, dimension.choices))}.")
    values = (dimension.low, dimension.high) if isinstance(dimension, Range) else dimension.choices
    for value in (*values, *(() if dimension.default is None else (dimension.default,))):
        _check_value(name, value)
    if dimension.default is not None and not _holds(dimension, dimension.default):
        raise _invalid(name, f"Got the default {dimension.default} of {name}, which is not in its own space.")


def _check_range(name: str, span: Range) -> None:
    if PARAMETERS[name].chosen:
        raise _invalid(name, f"Got a range of {name}; need choices.")
    if span.low > span.high:
        raise _invalid(name, f"Got {name} from {span.low:g} to {span.high:g}; need low at most high.")
    if span.log and span.low <= 0:
        raise _invalid(name, f"Got {name} from {span.low:g} in the logarithm; need low above 0.")
    if span.integer and not (span.low.is_integer() and span.high.is_integer()):
        raise _invalid(name, f"Got whole {name} from {span.low:g} to {span.high:g}; need whole ends.")


def _check_value(name: str, value: ParameterValue) -> None:
    allowed = PARAMETERS[name]
    if allowed.names is not None or name == "encoder":
        if not isinstance(value, str) or (allowed.names is not None and value not in allowed.names):
            raise _invalid(name, f"Got {name} {value!r}; need {', '.join(allowed.names or ('the name of one',))}.")
        return
    if isinstance(value, str) or not allowed.lowest <= value <= allowed.highest:
        raise _invalid(name, f"Got {name} {value!r}; need a number from {allowed.lowest:g} to {allowed.highest:g}.")
    if allowed.counted and not float(value).is_integer():
        raise _invalid(name, f"Got {name} {value:g}; need a whole number.")


def _holds(dimension: Dimension, value: ParameterValue) -> bool:
    if isinstance(dimension, Choices):
        return value in dimension.choices
    return not isinstance(value, str) and dimension.low <= value <= dimension.high


def _filled(name: str, dimension: Dimension, known: ParameterValue | None) -> Dimension:
    """Return a dimension with numbers of the right kind and a default."""
    default = dimension.default
    if default is None:
        default = known if known is not None and _holds(dimension, known) else _middle(dimension)
    if isinstance(dimension, Choices):
        choices = tuple(_typed(name, c) for c in dimension.choices)
        return Choices(choices=choices, default=_typed(name, default))
    whole = dimension.integer or PARAMETERS[name].counted
    return dimension.model_copy(
        update={"integer": whole, "default": round(float(default)) if whole else float(default)}
    )


def _middle(dimension: Dimension) -> ParameterValue:
    if isinstance(dimension, Choices):
        return dimension.choices[0]
    if dimension.log:
        return math.sqrt(dimension.low * dimension.high)
    return (dimension.low + dimension.high) / 2


def _typed(name: str, value: ParameterValue) -> ParameterValue:
    if isinstance(value, str):
        return value
    return int(value) if PARAMETERS[name].counted else float(value)


def _invalid(name: str, message: str) -> Invalid:
    return Invalid(
        message,
        code="bad_search_space",
        hint="GET /v1/architectures lists what can be searched and the default spaces.",
        pointer=f"/search/space/{name}",
    )
