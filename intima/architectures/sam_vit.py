"""The image encoder of Segment Anything: Kirillov et al. 2023, arXiv 2304.02643, from the package segment_anything."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from intima.architectures import torchvision_shim  # noqa: F401  the shim comes before what imports torchvision
from intima.architectures.foundation import State, Trunk

# isort: split
from segment_anything.modeling import ImageEncoderViT

STRIDE = 16
"""Side of a patch in pixels."""

_WINDOW = 14
"""Side of the published attention windows in patches."""


@dataclass(frozen=True, slots=True)
class _Size:
    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    """Blocks whose attention spans the image; the others attend within windows."""


_SIZES = {
    "vit_b": _Size(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _Size(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _Size(1280, 32, 16, (7, 15, 23, 31)),
}
"""As in ``segment_anything.build_sam``."""


def build_vit(encoder: str, *, input_px: int) -> Trunk:
    """Return a randomly initialised encoder for squares of ``input_px``.

    Windows are the published 14 patches, but never larger than the image: below 224 px they would hold mostly padding.
    """
    size, grid = _SIZES[encoder], input_px // STRIDE
    module = ImageEncoderViT(
        img_size=input_px,
        patch_size=STRIDE,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(_WINDOW, grid),
        global_attn_indexes=size.global_blocks,
    )
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    windowed = {f"blocks.{i}" for i in range(size.depth) if i not in size.global_blocks}
    return Trunk(module=module, stride=STRIDE, adapt=partial(_adapt, wanted=wanted, windowed=windowed))


def _adapt(state: State, *, wanted: dict[str, tuple[int, ...]], windowed: set[str]) -> State:
    """Fit positional embeddings, trained at 1024 px, to another input size.

    Absolute ones, and relative ones that span the image, are interpolated; relative ones of a smaller window are the
    middle of the larger one's, because a distance of n patches stays a distance of n patches.
    """
    adapted = dict(state)
    for name, shape in wanted.items():
        found = state.get(name)
        if found is None or tuple(found.shape) == shape:
            continue
        if name == "pos_embed":
            adapted[name] = _resize_grid(found, shape[1])
        elif "rel_pos" in name and name.split(".attn.")[0] in windowed:
            spare = (found.shape[0] - shape[0]) // 2
            adapted[name] = found[spare : spare + shape[0]]
        elif "rel_pos" in name:
            adapted[name] = functional.interpolate(found.T[None], size=shape[0], mode="linear")[0].T.contiguous()
    return adapted


def _resize_grid(grid: Tensor, side: int) -> Tensor:
    """Resample a (1, h, w, channels) grid bicubically."""
    planes = grid.permute(0, 3, 1, 2)
    resized = functional.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()
