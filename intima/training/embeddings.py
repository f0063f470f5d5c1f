"""Embeddings of a frozen encoder: computed once per image and augmentation view, then only the decoder is trained.

A *view* is one augmented crop of one case; which, follows from the case and the number of the view alone. So trials,
folds and final fits of one encoder share their embeddings, on disk, whichever worker makes them first. Values are
rounded to float16 whether they come from the cache or not: a run with a cold cache equals one with a warm cache.
A view is read from the cache when it is drawn, and made again where it is no longer there; memory holds a bounded
share of them.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import load, save
from torch import Tensor, nn

from intima.architectures.net import SegmentationNet
from intima.errors import Invalid
from intima.store.cache import Cache
from intima.store.keys import json_sha256
from intima.training.augment import CropSource, draw_batch
from intima.training.data import TrainingCase
from intima.training.seeds import derive_seed

HELD_BYTES = 2 * 2**30
"""Views of one unit in memory: all 64 of each of nine images where one takes 3 MiB."""
_VERSION = 1
"""Grows when views or embeddings are made differently."""

Tell: TypeAlias = Callable[[int, int], None]
"""tell(done, total): progress, in views."""


@dataclass(frozen=True, slots=True)
class Views:
    """Which views there are of each case."""

    per_case: int
    crop_px: int
    strength: float
    """Of the augmentation, as in ``intima.training.augment``."""
    classes: int


@dataclass(frozen=True, slots=True)
class View:
    """One view as the decoder sees it."""

    features: tuple[Tensor, ...]
    """(c, h, w) float16 each, as the encoder returns them."""
    target: Tensor
    """(crop, crop) uint8 classes."""

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return sum(feature.nbytes for feature in self.features) + self.target.nbytes


@dataclass(frozen=True, slots=True)
class ViewSource:
    """All views of the training cases, to draw batches from."""

    count: int
    read: Callable[[int], View]
    """read(number of the view from 0)."""

    def draw(self, *, batch: int, rng: Generator) -> tuple[list[Tensor], Tensor]:
        """Draw views with equal chances: features (batch, c, h, w) float32 and targets (batch, h, w) int64."""
        drawn = [self.read(int(i)) for i in rng.integers(self.count, size=batch)]
        levels = zip(*(view.features for view in drawn), strict=True)
        return [torch.stack(level).float() for level in levels], torch.stack([v.target for v in drawn]).long()


@dataclass(slots=True)
class _Held:
    """Views in memory; beyond the limit the one that was used longest ago goes."""

    limit_bytes: float
    views: dict[int, View] = field(default_factory=dict)
    bytes: int = 0

    def find(self, number: int) -> View | None:
        view = self.views.pop(number, None)
        if view is not None:
            self.views[number] = view
        return view

    def keep(self, number: int, view: View) -> View:
        self.views[number] = view
        self.bytes += view.bytes
        while self.bytes > self.limit_bytes and self.views:
            self.bytes -= self.views.pop(next(iter(self.views))).bytes
        return view


def embed_views(
    net: SegmentationNet,
    cases: Sequence[TrainingCase],
    *,
    views: Views,
    cache: Cache | None,
    start: int,
    tell: Tell,
    held_bytes: int = HELD_BYTES,
) -> ViewSource:
    """Put every view of the cases through the net's frozen encoder, unless the cache has it, and return their source.

    Args:
        net: with a frozen encoder, on the device to compute on.
        cases: training cases.
        views: how many, how large, how strongly augmented.
        cache: of embeddings; null keeps all in memory.
        start: where to begin the round: workers that begin at different places share the work.
        tell: told the progress.
        held_bytes: of views in memory beside a cache. What is neither there nor in the cache is made again when it is
            drawn, by the net as it is then: its encoder must stay frozen and on its device.

    Raises:
        Invalid: the encoder is not frozen, or its features do not fit float16.
    """
    if not net.frozen_encoder:
        raise Invalid("Got a net whose encoder is trained; embeddings can be kept of a frozen one only.")
    encoder = _fingerprint(net)
    wanted = list(_wanted(cases, views=views, encoder=encoder))
    held = _Held(math.inf if cache is None else held_bytes)

    def read(place: int) -> View:
        case, number, key = wanted[place]
        return held.find(place) or held.keep(place, _view(net, case, number, views=views, cache=cache, key=key))

    for step in range(len(wanted)):
        place = (start + step) % len(wanted)
        if cache is None or not cache.holds(wanted[place][2]):
            read(place)
        tell(step + 1, len(wanted))
    return ViewSource(len(wanted), read)


def _wanted(
    cases: Sequence[TrainingCase], *, views: Views, encoder: str
) -> Iterator[tuple[tuple[TrainingCase, str], int, str]]:
    """Yield (case with identity, number of the view, key in the cache)."""
    for case in cases:
        identity = case.identity
        for number in range(views.per_case):
            made_of = {"embedding": _VERSION, "encoder": encoder, "case": identity, "view": number}
            how = {"crop_px": views.crop_px, "strength": views.strength, "classes": views.classes}
            yield (case, identity), number, json_sha256(made_of | how)


def _view(
    net: SegmentationNet,
    case: tuple[TrainingCase, str],
    number: int,
    *,
    views: Views,
    cache: Cache | None,
    key: str,
) -> View:
    known = None if cache is None else cache.read(key)
    if known is not None:
        return _unpack(known)
    made = _make_view(net, case, number, views=views)
    if cache is not None:
        cache.write(key, _pack(made))
    return made


def _make_view(net: SegmentationNet, case: tuple[TrainingCase, str], number: int, *, views: Views) -> View:
    pixels, identity = case
    source = CropSource.of([pixels], classes=views.classes)
    rng = np.random.default_rng(derive_seed("view", identity, number))
    image, target = draw_batch(source, batch=1, crop_px=views.crop_px, strength=views.strength, rng=rng)
    device = next(net.parameters()).device
    with torch.no_grad():
        features = [f[0].to(device="cpu", dtype=torch.float16).contiguous() for f in net.embed(image.to(device))]
    if not all(bool(torch.isfinite(f).all()) for f in features):
        raise Invalid("The encoder's features are beyond float16's range.", code="embedding_overflow")
    return View(features=tuple(features), target=target[0].to(torch.uint8))


def _pack(view: View) -> bytes:
    levels = {f"level{i}": feature for i, feature in enumerate(view.features)}
    return save({**levels, "target": view.target})


def _unpack(data: bytes) -> View:
    tensors = load(data)
    return View(
        features=tuple(tensors[f"level{i}"] for i in range(len(tensors) - 1)),
        target=tensors["target"],
    )


def _fingerprint(net: SegmentationNet) -> str:
    """Return a hash of everything that decides what the encoder makes of an image."""
    digest = hashlib.sha256(f"{type(net.encoder).__qualname__} {net.fixed_px}".encode())
    for name, module in net.encoder.named_modules():
        if isinstance(module, nn.Conv2d):  # the same weights, dilated, make other features
            digest.update(f"{name} {module.stride} {module.dilation} {module.padding}".encode())
    for name, tensor in sorted(net.encoder_state().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
