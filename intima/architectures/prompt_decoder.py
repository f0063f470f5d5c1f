"""SAM's mask decoder with learnable prompts and one mask per class.

Boxes are too coarse a prompt for layers that touch. Here ``prompt_tokens`` learned vectors stand where SAM puts the
embeddings of points and boxes: beside the mask tokens in the two-way transformer, which lets tokens attend to the image
and the image to the tokens. SAM: Kirillov et al. 2023, arXiv 2304.02643, appendix A; learned prompts: Lester et al.
2021, arXiv 2104.08691.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intima.architectures import torchvision_shim  # noqa: F401  the shim comes before what imports torchvision
from intima.architectures.foundation import WIDTH, FoundationEncoder, State, Trunk, load_exactly
from intima.architectures.net import Design
from intima.errors import Invalid

# isort: split
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom

UPSCALING = 4
"""Factor from the embedding to the masks inside the decoder."""

_PROMPT_SPREAD = 0.15
"""Standard deviation of a new prompt token; that of the trained tokens of points and boxes is .11 to .21."""

_NOISE = 0.1
"""Share of its random start that a class keeps beside the pretrained token and hypernetwork it begins from."""


class PromptDecoder(nn.Module):
    """Embedding to (n, classes, 4 side, 4 side) logits.

    Every class has a mask token and a hypernetwork, which turns the token into the weights of a 1 x 1 convolution of
    the upscaled embedding. SAM's upscaling is made for the outline of what a prompt points at and lets go of most of
    what the embedding knows about tissue, so a plain readout of the embedding is added, which starts at zero (decision
    0017). Channel dropout acts on the last map before either convolution.
    """

    def __init__(self, *, classes: int, prompt_tokens: int, dropout: float, side: int) -> None:
        super().__init__()
        parts = MaskDecoder(
            transformer_dim=WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=2048, num_heads=8),
            num_multimask_outputs=classes - 1,
        )
        self.side = side
        self.class_tokens = classes
        self.transformer = parts.transformer
        self.mask_tokens = parts.mask_tokens
        self.output_upscaling = parts.output_upscaling
        self.output_hypernetworks_mlps = parts.output_hypernetworks_mlps
        self.readout = nn.Conv2d(WIDTH, classes, kernel_size=1)
        for tensor in self.readout.parameters():
            nn.init.zeros_(tensor)
        self.readout_norm = LayerNorm2d(WIDTH)
        self.readout_upsampling = half_pixel_upsampling(UPSCALING)
        self.pe_layer = PositionEmbeddingRandom(WIDTH // 2)
        self.no_mask_embed = nn.Embedding(1, WIDTH)
        self.prompts = nn.Embedding(prompt_tokens, WIDTH)
        nn.init.normal_(self.prompts.weight, std=_PROMPT_SPREAD)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return low-resolution logits of [(n, WIDTH, side, side)]."""
        image = features[-1] + self.no_mask_embed.weight[:, :, None, None]
        position = self.pe_layer((self.side, self.side))[None]
        tokens = torch.cat([self.mask_tokens.weight, self.prompts.weight])[None].expand(image.shape[0], -1, -1)
        queries, keys = self.transformer(image, position, tokens)
        cells = keys.transpose(1, 2).reshape(-1, WIDTH, self.side, self.side).contiguous()
        upscaled = self.dropout(self.output_upscaling(cells))
        weights = [mlp(queries[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks: Tensor = torch.stack(weights, dim=1) @ upscaled.flatten(2)
        outlined = masks.reshape(-1, len(weights), UPSCALING * self.side, UPSCALING * self.side)
        read: Tensor = self.readout_upsampling(self.readout(self.dropout(self.readout_norm(features[-1]))))
        return outlined + read

    @property
    def slow_parts(self) -> tuple[nn.Module, ...]:
        """What a checkpoint of SAM fills."""
        return self.transformer, self.output_upscaling, self.output_hypernetworks_mlps, self.no_mask_embed

    def load_pretrained(self, state: State) -> None:
        """Take what fits of a mask decoder: transformer, upscaling, positions; each class starts as the single mask.

        Raises:
            Invalid: the file has no mask decoder of this form.
        """
        load_exactly(self.transformer, _below("mask_decoder.transformer.", state))
        load_exactly(self.output_upscaling, _below("mask_decoder.output_upscaling.", state))
        load_exactly(self.pe_layer, _below("prompt_encoder.pe_layer.", state))
        load_exactly(self.no_mask_embed, _below("prompt_encoder.no_mask_embed.", state))
        single = _below("mask_decoder.output_hypernetworks_mlps.0.", state)
        token = _below("mask_decoder.mask_tokens.", state).get("weight")
        if token is None:
            raise Invalid("The weights hold no mask_decoder.mask_tokens.weight.", code="bad_weights")
        with torch.no_grad():
            self.mask_tokens.weight.mul_(_NOISE).add_(token[:1])
            for mlp in self.output_hypernetworks_mlps:
                start = {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
                load_exactly(mlp, single)
                for name, tensor in mlp.state_dict().items():
                    tensor.add_(start[name], alpha=_NOISE)


def _below(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


class PromptedNet(nn.Module):
    """A foundation encoder, a decoder with learned prompts, and an upsampling to the size of the images."""

    centre: Tensor
    spread: Tensor

    def __init__(
        self, trunk: Trunk, design: Design, *, scale: nn.Module, centre: Sequence[float], spread: Sequence[float]
    ) -> None:
        super().__init__()
        self.encoder = FoundationEncoder(trunk, scale=scale, training=design.encoder_training)
        self.encoder_in_full = design.encoder_training == "full"
        self.decoder = PromptDecoder(
            classes=design.classes,
            prompt_tokens=design.prompt_tokens,
            dropout=design.dropout,
            side=design.input_px // trunk.stride,
        )
        self.segmentation_head = half_pixel_upsampling(trunk.stride // UPSCALING)
        self.register_buffer("centre", torch.tensor(centre).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(spread).view(1, 3, 1, 1), persistent=False)

    @property
    def slow_parts(self) -> tuple[nn.Module, ...]:
        """What a checkpoint of SAM fills and training goes on with, the encoder where it is trained in full."""
        return (self.encoder, *self.decoder.slow_parts) if self.encoder_in_full else self.decoder.slow_parts

    def load_pretrained(self, state: State) -> None:
        """Take encoder and decoder from a file of the SAM family.

        Raises:
            Invalid: the file does not fit.
        """
        self.encoder.load_pretrained(state)
        self.decoder.load_pretrained(state)


def half_pixel_upsampling(factor: int) -> nn.Module:
    """Return a bilinear upsampling on half-pixel centres; nothing where the factor is one."""
    if factor == 1:
        return nn.Identity()
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
