"""The attention layer of nets that have attention: what they have computed is read off, whatever the modules expose.

Softmax and scaled dot products inside modules named "...Attention..." (or "attn") are observed while the net runs; each
gives weights (heads, queries, keys) that sum to 1 over keys. Per-head weights are averaged.

- Rollout (Abnar and Zuidema 2020, arXiv 2005.00928) where every layer of the encoder attends over one and the same grid
  of tokens: the product of (A_l + I) / 2, averaged over queries.
- Per layer where grids differ (SegFormer's reduced keys) or some layers attend within windows (SAM): the attention
  each key receives, averaged over queries.
- Attention within windows has no map of the image and is left out; the notes count it.
- Tokens of the decoder: of every decoder layer where few tokens attend to the image, the mean over heads and layers,
  per token. Tokens of classes come before prompts; how many they are is the decoder's ``class_tokens``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from intima.architectures.net import SegmentationNet
from intima.explanation.crop import padded_size
from intima.geometry import Size

MOST_PROMPTS = 64
"""With more queries than these, beside one per class, an attention to the image is not one of prompt tokens."""
_MOST_PREFIX = 8
"""Class and register tokens before those of the image."""
_STRIDES = (4, 8, 14, 16, 32, 64, 2, 1)
_SOFTMAX: tuple[Callable[..., Any], ...] = (functional.softmax, torch.softmax, Tensor.softmax)


@dataclass(frozen=True, slots=True)
class Observed:
    """Attention weights of one call."""

    module: str
    weights: Tensor
    """(windows, queries, keys), averaged over heads; sums to 1 over keys. One window is the whole image."""


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """Maps of one image, each (rows, columns) and summing to 1 unless tokens before the image took their part."""

    rollout: NDArray[np.float32] | None
    """Null unless every layer of the encoder attends over one grid of the image."""
    layers: tuple[str, ...]
    """Every attention of the encoder, in the order in which it ran."""
    per_layer: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By module, of those layers that attend over the whole image."""
    tokens: tuple[NDArray[np.float32], ...] = ()
    """Of the decoder's tokens, those of the classes first."""
    class_tokens: int = 0
    """How many of them belong to classes."""

    @property
    def windowed(self) -> int:
        """Layers of the encoder that attend within windows."""
        return len(self.layers) - len(self.per_layer)


def observe_attention(net: SegmentationNet, images: Tensor) -> AttentionMaps:
    """Run a net on one image, (1, 3, height, width), and read its attention off.

    A net without attention over the image gives no maps.
    """
    with torch.no_grad(), _Observer(net) as observer:
        net(images)
    height, width = padded_size(net, Size(images.shape[-1], images.shape[-2]))
    encoder = {o.module: o for o in observer.seen if o.module.startswith("body.encoder")}
    whole = [o for o in encoder.values() if len(o.weights) == 1 and _grid(o.weights.shape[2], height, width)]
    classes = int(getattr(net.decoder, "class_tokens", 0))
    decoder = [o for o in observer.seen if o.module not in encoder]
    return AttentionMaps(
        rollout=_rollout(whole, height, width) if len(whole) == len(encoder) else None,
        layers=tuple(encoder),
        per_layer={o.module: _received(o, height, width) for o in whole},
        tokens=_token_maps(decoder, height, width, most=classes + MOST_PROMPTS),
        class_tokens=classes,
    )


class _Observer(TorchFunctionMode):
    """Keeps the attention weights of every softmax and scaled dot product inside an attention module."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.seen: list[Observed] = []
        self._stack: list[tuple[str, int]] = []
        self._hooks = [
            hook
            for name, module in net.named_modules()
            if _is_attention(name, module)
            for hook in (
                module.register_forward_pre_hook(lambda m, _, name=name: self._stack.append((name, _heads(m)))),
                module.register_forward_hook(lambda *_: self._leave()),
            )
        ]

    def _leave(self) -> None:
        self._stack.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if self._stack and func in _SOFTMAX:
            self._keep(result)
        elif self._stack and func is functional.scaled_dot_product_attention:
            self._keep(_weights_of(args[0], args[1], given))
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def _keep(self, weights: Tensor) -> None:
        """Keep (windows, heads, queries, keys) or (windows * heads, queries, keys) weights."""
        name, heads = self._stack[-1]
        if weights.ndim == 3:
            weights = weights.reshape(-1, heads, *weights.shape[1:])
        if weights.ndim == 4:
            self.seen.append(Observed(name, weights.detach().mean(1)))


def _heads(module: nn.Module) -> int:
    """Return the heads that a module may have laid along the axis of its windows; 1 where it names none."""
    return int(getattr(module, "num_heads", 1))


def _is_attention(name: str, module: nn.Module) -> bool:
    return "attention" in type(module).__name__.lower() or name.rpartition(".")[2].lower() in {"attn", "self_attn"}


def _weights_of(queries: Tensor, keys: Tensor, given: dict[str, Any]) -> Tensor:
    """Return softmax(q k^T scale + mask), which the fused function computes without showing it."""
    scale = given.get("scale") or 1 / math.sqrt(queries.shape[-1])
    scores = queries @ keys.transpose(-2, -1) * scale
    mask = given.get("attn_mask")
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores.float(), -1)


def _grid(tokens: int, height: int, width: int) -> tuple[int, int, int] | None:
    """Return rows, columns and the number of tokens before them; null where tokens are no grid over the image."""
    for stride in _STRIDES:
        rows, columns = height // stride, width // stride
        if rows * stride == height and columns * stride == width and 0 <= tokens - rows * columns <= _MOST_PREFIX:
            return rows, columns, tokens - rows * columns
    return None


def _received(observed: Observed, height: int, width: int) -> NDArray[np.float32]:
    return _laid_out(observed.weights[0].float().mean(0), height, width)


def _laid_out(over_keys: Tensor, height: int, width: int) -> NDArray[np.float32]:
    grid = _grid(over_keys.shape[0], height, width)
    assert grid is not None
    rows, columns, prefix = grid
    laid: NDArray[np.float32] = over_keys[prefix:].reshape(rows, columns).numpy().astype(np.float32)
    return laid


def _rollout(layers: Sequence[Observed], height: int, width: int) -> NDArray[np.float32] | None:
    """Return the rollout; null unless there are layers, all square and of one size."""
    shapes = {tuple(o.weights.shape[1:]) for o in layers}
    if len(shapes) != 1 or len(set(shapes.pop())) != 1:
        return None
    flow: Tensor | None = None
    for layer in layers:
        mixed = layer.weights[0].float() / 2
        mixed = mixed + torch.eye(len(mixed)) / 2
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return _laid_out(flow.mean(0), height, width)


def _token_maps(seen: Sequence[Observed], height: int, width: int, *, most: int) -> tuple[NDArray[np.float32], ...]:
    """Return the mean map of each token over the layers in which at most ``most`` tokens attend to the image."""
    fitting = [
        o.weights[0].float()
        for o in seen
        if o.weights.shape[1] <= most < o.weights.shape[2] and _grid(o.weights.shape[2], height, width)
    ]
    if not fitting:
        return ()
    finest = max(w.shape[1] for w in fitting)
    fitting = [w for w in fitting if w.shape[1] == finest and w.shape[0] == fitting[0].shape[0]]
    return tuple(_laid_out(row, height, width) for row in torch.stack(fitting).mean(0))
