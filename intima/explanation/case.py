"""Explain one case: each layer as numbers, and the maps behind them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from intima.architectures.net import SegmentationNet
from intima.arrays import LabelMask, Logits, Predict, RgbImage
from intima.borders import Scale
from intima.contracts.explanation import (
    AttentionLayer,
    ClassAttention,
    ClassSaliency,
    ErrorLayer,
    ExplanationSettings,
    MorphologyLayer,
    SaliencyLayer,
    UncertaintyLayer,
)
from intima.explanation.attention import AttentionMaps, observe_attention
from intima.explanation.crop import Crop, share_of_map
from intima.explanation.error import explain_errors
from intima.explanation.figure import CaseMaps, NamedMap
from intima.explanation.gradcam import SOURCE, grad_cam
from intima.explanation.morphology import explain_morphology
from intima.explanation.saliency import integrated_gradients
from intima.explanation.uncertainty import Maps, dropout_predict, has_dropout, maps_of, summarise_maps, tta_predict
from intima.geometry import Size
from intima.labels import LabelSchema

RunTiled: TypeAlias = Callable[[Predict], Logits]
"""Runs a Predict over the whole working image."""

_SMOOTH_PX = 1.5
_SHOWN = 3
"""Layers of the encoder that the figure has room for beside a note."""


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case as the layers see it."""

    image: RgbImage
    """At the working resolution."""
    truth: LabelMask
    """At native resolution, as is the prediction."""
    predicted: LabelMask
    distance: NDArray[np.float32]
    """Of every native pixel to the nearest true boundary, in the unit of ``scale``."""
    scale: Scale
    schema: LabelSchema
    crop: Crop

    @property
    def size(self) -> Size:
        """Native size."""
        return Size(self.truth.shape[1], self.truth.shape[0])


@dataclass(frozen=True, slots=True)
class Explained:
    """The layers of a case; null are those not asked for. Error is always counted: the figure shows it."""

    error: ErrorLayer
    uncertainty: UncertaintyLayer | None
    morphology: MorphologyLayer | None
    attention: AttentionLayer | None
    saliency: SaliencyLayer | None
    maps: CaseMaps
    """At native resolution."""


def explain_layers(
    view: CaseView,
    net: SegmentationNet,
    predict: Predict,
    *,
    run: RunTiled,
    mpp: float | None,
    settings: ExplanationSettings,
) -> Explained:
    """Explain one case by the layers that the settings name.

    Args:
        view: the case.
        net: that predicted it, in evaluation mode.
        predict: the net as a Predict.
        run: runs a Predict over the whole working image, as for the prediction.
        mpp: native pixel size in µm.
        settings: layers and their numbers.
    """
    layers, attention, saliency = settings.layers, None, None
    uncertainty, sampled = None, None
    attention_maps: tuple[NamedMap, ...] = ()
    token_maps: tuple[NamedMap, ...] = ()
    saliency_maps: tuple[NamedMap, ...] = ()
    if "uncertainty" in layers:
        uncertainty, sampled = explain_uncertainty(view, net, predict, run=run, settings=settings)
    if "attention" in layers:
        attention, attention_maps, token_maps = explain_attention(view, net)
    if "saliency" in layers:
        saliency, saliency_maps = explain_saliency(view, net, steps=settings.saliency_steps)
    morphology = None
    if "morphology" in layers:
        morphology = explain_morphology(view.truth, view.predicted, schema=view.schema, mpp=mpp)
    return Explained(
        error=explain_errors(view.truth, view.predicted, distance=view.distance, schema=view.schema, scale=view.scale),
        uncertainty=uncertainty,
        morphology=morphology,
        attention=attention,
        saliency=saliency,
        maps=CaseMaps(sampled, attention_maps, token_maps, saliency_maps),
    )


def explain_uncertainty(
    view: CaseView, net: SegmentationNet, predict: Predict, *, run: RunTiled, settings: ExplanationSettings
) -> tuple[UncertaintyLayer, Maps]:
    """Sample the net by orientation and, where it has dropout, by dropout; the maps are those of the orientations."""
    classes, wrong = len(view.schema), view.truth != view.predicted
    shown = maps_of(run(tta_predict(predict)), classes=classes, size=view.size, sampler="tta", seed=None)
    samplers, notes = [summarise_maps(shown, wrong)], []
    if has_dropout(net):
        seed = settings.sampling_seed
        stacked = run(dropout_predict(net, passes=settings.dropout_passes, seed=seed))
        sampled = maps_of(stacked, classes=classes, size=view.size, sampler="mc_dropout", seed=seed)
        samplers.append(summarise_maps(sampled, wrong))
    else:
        notes.append("No MC dropout: this net has no dropout above 0.")
    return UncertaintyLayer(samplers=tuple(samplers), notes=tuple(notes)), shown


def explain_attention(
    view: CaseView, net: SegmentationNet
) -> tuple[AttentionLayer, tuple[NamedMap, ...], tuple[NamedMap, ...]]:
    """Read attention off where the encoder attends over the image; take Grad-CAM where it does not.

    Returns:
        The layer; maps of the encoder; maps of the decoder's tokens.
    """
    tile = view.crop.tile_of(view.image)
    seen = observe_attention(net, tile)
    tokens = _token_maps(view, net, seen)
    if not seen.per_layer:
        classes, maps = _class_activation(view, net, tile)
        return _attention_layer("grad_cam", SOURCE, view, seen, classes=classes), maps, tokens
    if seen.rollout is not None:
        source = f"all {len(seen.layers)} layers of the encoder"
        maps = (_scaled(view, net, seen.rollout, "Attention rollout"),)
        return _attention_layer("attention_rollout", source, view, seen), maps, tokens
    numbers = {name: seen.layers.index(name) + 1 for name in seen.per_layer}
    last = len(seen.layers)
    maps = tuple(
        _scaled(view, net, seen.per_layer[name], f"Attention, layer {numbers[name]} of {last}")
        for name in _spread_out(list(numbers))
    )
    listed = ", ".join(map(str, numbers.values()))
    source = f"layer{'s' if len(numbers) > 1 else ''} {listed} of {last} of the encoder"
    return _attention_layer("attention_per_layer", source, view, seen), maps, tokens


def explain_saliency(view: CaseView, net: SegmentationNet, *, steps: int) -> tuple[SaliencyLayer, tuple[NamedMap, ...]]:
    """Attribute every predicted foreground class to pixels."""
    found = integrated_gradients(net, view.crop.tile_of(view.image), classes=len(view.schema), steps=steps)
    classes, maps = [], []
    for index, attribution in found.items():
        name = view.schema.names[index]
        laid = view.crop.lay(np.abs(attribution.pixels))
        share = share_of_map(laid, on_class=view.truth == index, in_band=view.distance <= view.scale.band)
        classes.append(
            ClassSaliency(
                class_name=name,
                attributed=attribution.attributed,
                expected=attribution.expected,
                completeness_gap=attribution.gap,
                on_class=share.on_class,
                in_band=share.in_band,
            )
        )
        smooth = ndimage.gaussian_filter(np.abs(attribution.pixels), _SMOOTH_PX)
        top = float(np.percentile(smooth, 99)) or 1.0
        shown = np.clip(view.crop.lay((smooth / top).astype(np.float32)), 0.0, 1.0)
        maps.append(NamedMap(f"Integrated gradients: {name}", shown, index))
    layer = SaliencyLayer(method="integrated_gradients", baseline="white", steps=steps, classes=tuple(classes))
    return layer, tuple(maps)


def _class_activation(
    view: CaseView, net: SegmentationNet, tile: torch.Tensor
) -> tuple[tuple[ClassAttention, ...], tuple[NamedMap, ...]]:
    found = grad_cam(net, tile, classes=len(view.schema))
    classes, maps = [], []
    for c in view.schema.foreground:
        cam = found.get(c.index, np.zeros((1, 1), np.float32))
        laid = view.crop.spread(cam, net)
        share = share_of_map(laid, on_class=view.truth == c.index, in_band=view.distance <= view.scale.band)
        peak = float(cam.max())
        classes.append(ClassAttention(class_name=c.name, peak=peak, on_class=share.on_class, in_band=share.in_band))
        if peak > 0:
            maps.append(NamedMap(f"Grad-CAM: {c.name}", laid / np.float32(peak), c.index))
    return tuple(classes), tuple(maps)


def _attention_layer(
    method: Literal["grad_cam", "attention_rollout", "attention_per_layer"],
    source: str,
    view: CaseView,
    seen: AttentionMaps,
    *,
    classes: tuple[ClassAttention, ...] = (),
) -> AttentionLayer:
    named = view.schema.names[: min(seen.class_tokens, len(seen.tokens))]
    return AttentionLayer(
        method=method,
        source=source,
        classes=classes,
        encoder_maps=tuple(seen.per_layer),
        class_tokens=tuple(named),
        prompt_tokens=len(seen.tokens) - len(named),
        notes=tuple(_notes(seen)),
    )


def _notes(seen: AttentionMaps) -> Iterator[str]:
    if seen.windowed:
        yield (
            f"{seen.windowed} of {len(seen.layers)} layers attend within windows and have no map of the image; "
            "a rollout would need every layer."
        )


def _token_maps(view: CaseView, net: SegmentationNet, seen: AttentionMaps) -> tuple[NamedMap, ...]:
    """Return the maps of the decoder's tokens: of foreground classes, of prompts, of the background."""
    classes = [
        replace(_scaled(view, net, values, f"Class token: {c.name}"), class_index=c.index or None)
        for c, values in zip(view.schema.classes, seen.tokens[: seen.class_tokens], strict=False)
    ]
    prompts = seen.tokens[seen.class_tokens :]
    named = [_scaled(view, net, m, f"Prompt token {n} of {len(prompts)}") for n, m in enumerate(prompts, 1)]
    return (*classes[1:], *named, *classes[:1])


def _scaled(view: CaseView, net: SegmentationNet, values: NDArray[np.float32], title: str) -> NamedMap:
    laid = view.crop.spread(values, net)
    return NamedMap(title, laid / np.float32(np.nanmax(laid) or 1.0), None)


def _spread_out(names: Sequence[str]) -> list[str]:
    """Return layers evenly from first to last, as many as a row of the figure holds."""
    room = min(len(names), _SHOWN)
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, room).round().astype(int))]
