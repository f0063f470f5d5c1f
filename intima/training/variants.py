"""Export a net in every number format that stays close to it; what does not is left out, with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.contracts.model import DiceEquivalence, LeftOut, MemberFile, Parity, Precision, Variant
from intima.errors import Invalid
from intima.training.export import Load, export_net, halve_weights
from intima.training.parity import compare_logits, worst_parity
from intima.training.quantize import quantize_net

MAX_DIFFERENCE_FP16 = 1e-2
"""Largest allowed absolute difference in probability of a net with its weights in float16."""
MIN_AGREEMENT_INT8 = 0.99
"""Least share of pixels to which an int8 net gives the same class."""
MIN_DICE_INT8 = 0.98
"""Least Dice, mean over foreground classes, between the masks of an int8 net and of the float32 net."""
MAX_PARAMETERS_INT8 = 120_000_000
"""Larger nets are not quantised: the quantiser holds them several times in memory."""


@dataclass(frozen=True, slots=True)
class MemberVariants:
    """One net in several number formats."""

    files: Mapping[Precision, bytes]
    parity: Mapping[Precision, Parity]
    left_out: Mapping[Precision, str]
    """Why a number format is missing."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Real tiles, in the classes' frame."""

    compare: Sequence[TileBatch]
    """Parity is measured on these."""
    calibrate: Sequence[TileBatch]
    """int8 takes its ranges from these; others than ``compare`` where the dataset has enough cases."""
    classes: Sequence[str]
    """Class names in order."""


def export_variants(net: nn.Module, *, samples: Samples, load: Load) -> MemberVariants:
    """Export a net in float32, and in float16 and int8 where these stay within their limits.

    Raises:
        Invalid: the float32 file differs from the torch net by more than ``export.MAX_DIFFERENCE``.
    """
    full = export_net(net, tiles=samples.compare, load=load).onnx
    reference = [_run(net, batch) for batch in samples.compare]
    files: dict[Precision, bytes] = {"fp32": full}
    parity: dict[Precision, Parity] = {"fp32": _parity(load(full), reference, samples)}
    left_out: dict[Precision, str] = {}
    for precision in ("fp16", "int8"):
        try:
            data = _convert(full, net, precision, samples)
            measured = _parity(load(data), reference, samples)
            _require(measured, precision)
        except Invalid as error:
            left_out[precision] = error.message
            continue
        files[precision], parity[precision] = data, measured
    return MemberVariants(files=files, parity=parity, left_out=left_out)


def join_variants(
    members: Sequence[MemberVariants],
    *,
    files: Mapping[Precision, Sequence[MemberFile]],
    equivalence: Mapping[Precision, DiceEquivalence] = MappingProxyType({}),
) -> tuple[tuple[Variant, ...], tuple[LeftOut, ...]]:
    """Return the variants all members have, with the worst parity, and those that one of them lacks.

    Args:
        members: the members of the ensemble.
        files: where the members are stored, by number format.
        equivalence: what was found of number formats.
    """
    kept = common_precisions(members)
    variants = tuple(
        Variant(
            precision=p,
            members=tuple(files[p]),
            parity=worst_parity([m.parity[p] for m in members]),
            equivalence=equivalence.get(p),
        )
        for p in kept
    )
    reasons: dict[Precision, str] = {}
    for number, member in enumerate(members):
        for precision, reason in member.left_out.items():
            reasons.setdefault(precision, f"member {number}: {reason}")
    return variants, tuple(LeftOut(precision=p, reason=r) for p, r in sorted(reasons.items()))


def common_precisions(members: Sequence[MemberVariants]) -> tuple[Precision, ...]:
    """Return the number formats every member has, fp32 first."""
    order: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    return tuple(p for p in order if all(p in member.files for member in members))


def _convert(full: bytes, net: nn.Module, precision: Precision, samples: Samples) -> bytes:
    if precision == "fp16":
        return halve_weights(full)
    parameters = sum(p.numel() for p in net.parameters())
    if parameters > MAX_PARAMETERS_INT8:
        raise Invalid(f"Not tried: the net has {parameters} parameters; need at most {MAX_PARAMETERS_INT8}.")
    return quantize_net(full, tiles=samples.calibrate)


def _require(parity: Parity, precision: Precision) -> None:
    """Raise Invalid where a variant is too far from the float32 net."""
    if precision == "fp16" and parity.max_abs > MAX_DIFFERENCE_FP16:
        raise Invalid(f"differs by {parity.max_abs:.2g} in probability; need at most {MAX_DIFFERENCE_FP16:g}.")
    if precision == "int8" and (parity.argmax_agreement < MIN_AGREEMENT_INT8 or parity.macro_dice < MIN_DICE_INT8):
        raise Invalid(
            f"gives {parity.argmax_agreement:.4f} of the pixels the same class and its masks have Dice "
            f"{parity.macro_dice:.4f} with those of float32; need at least {MIN_AGREEMENT_INT8:g} and "
            f"{MIN_DICE_INT8:g}."
        )


def _parity(served: Predict, reference: Sequence[LogitBatch], samples: Samples) -> Parity:
    found = [served(batch) for batch in samples.compare]
    if not all(np.isfinite(batch).all() for batch in found):
        raise Invalid("gives logits that are not finite.", code="export_parity")
    return compare_logits(reference, found, classes=samples.classes)


def _run(net: nn.Module, batch: TileBatch) -> LogitBatch:
    with torch.inference_mode():
        logits: LogitBatch = net.eval()(torch.from_numpy(batch)).float().numpy()
    return logits
