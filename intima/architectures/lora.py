"""Low-rank additions to frozen weights: Hu et al. 2021, arXiv 2106.09685."""

import math

import torch
from torch import Tensor, nn

RANK = 4


class LoraLinear(nn.Linear):
    """A frozen linear layer plus a trained product of two thin matrices, which starts at zero.

    ``weight`` and ``bias`` keep their names, so pretrained files fit before and after the addition. The scale alpha / r
    of the paper is one.
    """

    def __init__(self, source: nn.Linear) -> None:
        super().__init__(source.in_features, source.out_features, bias=source.bias is not None)
        self.weight, self.bias = source.weight, source.bias
        self.lora_down = nn.Parameter(torch.empty(RANK, source.in_features))
        self.lora_up = nn.Parameter(torch.zeros(source.out_features, RANK))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch names it so
        """Return W x + b + up (down x)."""
        added = nn.functional.linear(nn.functional.linear(input, self.lora_down), self.lora_up)
        return super().forward(input) + added


def add_lora(module: nn.Module) -> None:
    """Freeze a module and give each of its layers named ``qkv`` a trained low-rank addition, in place."""
    module.requires_grad_(False)
    for part in list(module.modules()):
        qkv = getattr(part, "qkv", None)
        if isinstance(qkv, nn.Linear):
            part.qkv = LoraLinear(qkv)
