"""Run a published ONNX network as a Predict. The provider asked for is the provider used, or it is an error."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.contracts.model import ModelCard, ModelVersion, Precision, ProviderName
from intima.errors import Invalid
from intima.providers import CPU, Device, open_session
from intima.registry import read_members, resolve
from intima.store.storage import Storage
from intima.uncertainty import RATE_KEY, DropoutLayer, Masks, Pass, draw_masks, mask_name, stack_passes

PredictDrawn: TypeAlias = Callable[[TileBatch, Masks], LogitBatch]
"""(tiles, 3, h, w) under (draws, channels, 1, 1) masks by name to (tiles, draws * classes, h, w)."""

_MOST_DRAWN_PX = 2**23
"""Draws times pixels of a tile that one run of the network takes."""


@dataclass(frozen=True, slots=True)
class OnnxNet:
    """A loaded network."""

    predict: Predict
    """Without dropout."""
    provider: str
    """ONNX Runtime's name of the provider really in use."""
    classes: int
    dropout: tuple[DropoutLayer, ...]
    """Where its masks act; empty where it takes none."""
    predict_drawn: PredictDrawn

    @property
    def dropout_rate(self) -> float | None:
        """Rate of its channel dropout; None where it takes no masks."""
        return self.dropout[0].rate if self.dropout else None


def load_onnx(data: bytes, *, device: Device = CPU, threads: int = 1) -> OnnxNet:
    """Load a network from its bytes.

    Args:
        data: a self-contained ONNX file: input (tiles, 3, h, w) float32 in 0..1, output (tiles, classes, h, w); masks
            of channel dropout may be further inputs, see ``training.export.to_onnx``.
        device: where to run; never replaced by another in silence.
        threads: threads inside one operator; 1 with several workers scales best on a shared machine.

    Raises:
        Invalid: not a usable network, or one whose masks change nothing.
        Unavailable: the provider asked for does not run here.
    """
    session = open_session(data, device=device, threads=threads)
    name = session.get_inputs()[0].name
    layers = _dropout_layers(session)
    kept = _masks_to_give(session, layers)

    def predict(tiles: TileBatch) -> LogitBatch:
        out: LogitBatch = session.run(None, {name: tiles, **kept})[0]
        return out

    def predict_drawn(tiles: TileBatch, masks: Masks) -> LogitBatch:
        return _joined([_draws_of(session, {name: tile[None]}, masks, classes)[None] for tile in tiles])

    probe = predict(np.zeros((1, 3, 64, 64), np.float32))
    if probe.ndim != 4 or probe.shape[::2] != (1, 64) or probe.shape[3] != 64 or not np.isfinite(probe).all():
        raise Invalid(f"Got output of shape {probe.shape} for a 64 px tile; need finite (1, classes, 64, 64).")
    classes = int(probe.shape[1])
    _require_effect(predict_drawn, layers)
    return OnnxNet(
        predict=predict,
        provider=str(session.get_providers()[0]),
        classes=classes,
        dropout=layers,
        predict_drawn=predict_drawn,
    )


def _dropout_layers(session: Any) -> tuple[DropoutLayer, ...]:
    """Return the masks a network takes, in order. Raises Invalid where the file does not say at what rate."""
    shapes = {i.name: i.shape for i in [*session.get_inputs()[1:], *session.get_overridable_initializers()]}
    places = [mask_name(place) for place in range(len(shapes))]
    found = [(name, shapes[name]) for name in places if name in shapes]
    if not found:
        return ()
    stated = session.get_modelmeta().custom_metadata_map.get(RATE_KEY, "")
    try:
        rate = float(stated)
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1 or any(len(shape) != 4 or not isinstance(shape[1], int) for _, shape in found):
        raise Invalid(
            f"Got masks of shapes {[shape for _, shape in found][:4]} at a rate of {stated[:20]!r}; need "
            "(draws, channels, 1, 1) and a rate between 0 and 1.",
            code="bad_model",
        )
    return tuple(DropoutLayer(name=name, channels=int(shape[1]), rate=rate) for name, shape in found)


def _masks_to_give(session: Any, layers: Sequence[DropoutLayer]) -> Masks:
    """Return masks that drop nothing, for those that a session does not let one leave out."""
    asked = {i.name for i in session.get_inputs()}
    return {layer.name: np.ones((1, layer.channels, 1, 1), np.float32) for layer in layers if layer.name in asked}


def draws_at_once(*, height: int, width: int) -> int:
    """Return how many draws of one tile a run of the network takes."""
    return max(1, _MOST_DRAWN_PX // (height * width))


def _draws_of(session: Any, tile: dict[str, TileBatch], masks: Masks, classes: int) -> LogitBatch:
    """Return (draws * classes, h, w) logits of one tile; what comes before the first mask runs once for many draws.

    Raises:
        Invalid: the network cannot be run with so many masks, or does not answer each with logits of its own.
    """
    height, width = next(iter(tile.values())).shape[2:]
    draws, step = len(next(iter(masks.values()))), draws_at_once(height=height, width=width)
    runs = []
    for start in range(0, draws, step):
        some = {name: mask[start : start + step] for name, mask in masks.items()}
        try:
            found = session.run(None, {**tile, **some})[0]
        except Exception as error:  # ONNX Runtime's exception types share no other base
            raise Invalid(f"ONNX Runtime cannot run the masks of this network: {error}", code="bad_model") from error
        wanted = (min(step, draws - start), classes, height, width)
        if found.shape != wanted:
            raise Invalid(f"Got output of shape {found.shape} for masks; need {wanted}.", code="bad_model")
        runs.append(found)
    return _joined(runs).reshape(-1, height, width)


def _joined(parts: Sequence[LogitBatch]) -> LogitBatch:
    """Return arrays joined along the first axis; a single one as it is, since draws of a tile are large to copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _require_effect(predict_drawn: PredictDrawn, layers: tuple[DropoutLayer, ...]) -> None:
    """Raise Invalid where dropping every channel gives what dropping none does: dropout is dead.

    One layer of several may be without effect, as before a readout that still is zero.
    """
    if not layers:
        return
    tile, kept = np.random.default_rng(0).random((1, 3, 64, 64), np.float32), np.array([0, 1, 1], np.float32)
    masks = {layer.name: np.repeat(kept[:, None], layer.channels, axis=1)[:, :, None, None] for layer in layers}
    none, every, again = np.split(predict_drawn(tile, masks), 3, axis=1)
    if not (np.isfinite(none).all() and np.isfinite(every).all()):
        raise Invalid("The logits are not finite where dropout drops every channel.", code="bad_model")
    if np.array_equal(none, every) or not np.array_equal(every, again):
        raise Invalid(
            "The masks of dropout change nothing, or equal ones give unequal maps: there is no MC dropout.",
            code="bad_model",
        )


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A published model, ready to run."""

    version: ModelVersion
    nets: tuple[OnnxNet, ...]
    """One per member."""
    provider: str
    """ONNX Runtime's name of the provider really in use."""
    precision: Precision = "fp32"

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.version.card


def load_model(
    storage: Storage,
    ref: str,
    *,
    precision: Precision = "fp32",
    provider: ProviderName = "cpu",
    fallback: bool = False,
    threads: int = 1,
) -> LoadedModel:
    """Load all members of a published model in one number format.

    Raises:
        NotFound: no such model.
        Invalid: the model has no such variant, a member does not load, or its classes are not those of the card.
        Unavailable: the provider asked for does not run here.
    """
    version = resolve(storage, ref)
    files = read_members(storage, version.card, precision=precision)
    device = Device(provider, fallback, engines=storage.data_dir / "cache" / "tensorrt")
    nets = tuple(load_onnx(data, device=device, threads=threads) for data in files)
    for net in nets:
        if net.classes != len(version.card.classes):
            raise Invalid(f"{version.ref} gives {net.classes} classes; its card has {len(version.card.classes)}.")
        if net.dropout_rate != version.card.dropout_rate:
            raise Invalid(
                f"{version.ref} takes masks of dropout at a rate of {net.dropout_rate}; its card says "
                f"{version.card.dropout_rate}."
            )
    return LoadedModel(version=version, nets=nets, provider=nets[0].provider, precision=precision)


def sample_passes(nets: Sequence[OnnxNet], passes: Sequence[Pass], *, seed: int) -> Predict:
    """Return one Predict that runs all passes and stacks their logits: (tiles, passes * classes, h, w).

    The masks of a pass are drawn from ``seed``, member and draw alone, so that a pass is one network on all tiles of a
    slide, and the same one for every request with this seed.
    """
    if all(p.draw is None for p in passes):
        return stack_passes([net.predict for net in nets], passes)
    drawn = [
        (net, draw_masks(net.dropout, seed=seed, member=m, draws=[p.draw for p in passes if p.member == m and p.draw]))
        for m, net in enumerate(nets)
    ]

    def predict(tiles: TileBatch) -> LogitBatch:
        return np.concatenate([net.predict_drawn(tiles, masks) for net, masks in drawn], axis=1)

    return predict
