"""Let torchvision import beside a CPU build of torch; runs once, on import.

The torchvision wheel of the package index is linked against CUDA. Beside a CPU torch its operator library is skipped
in silence, and ``import torchvision`` then dies because the schemas of two operators, nms and qnms, are unknown.
Declaring the two is the whole mend; nms gets a plain kernel as well. Nothing happens where torchvision imports as it
is. See docs/decisions/0002-torchvision-shim.md.
"""

import importlib
import sys
from types import ModuleType

import torch

_SYMPTOM = "operator torchvision::nms does not exist"
_LIBRARIES: list[torch.library.Library] = []
"""Kept alive: torch forgets the operators of a library that is collected."""


def ensure_torchvision() -> ModuleType:
    """Import torchvision, with the two operator schemas declared where they are missing.

    Raises:
        RuntimeError: torchvision fails to import for any other reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise
    _forget_half_imported()
    _declare_operators()
    module = importlib.import_module("torchvision")
    boxes = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = _nms_is_there  # type: ignore[attr-defined]
    return module


def suppress_overlaps(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Keep boxes greedily by falling score, dropping any that overlaps a kept one by more than ``threshold`` IoU.

    Args:
        boxes: (n, 4) left, top, right, bottom.
        scores: (n,).
        threshold: largest intersection over union allowed.

    Returns:
        (kept,) indices by falling score: the contract of torchvision.ops.nms.
    """
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[torch.Tensor] = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        corner = torch.minimum(boxes[rest, 2:], boxes[best, 2:]) - torch.maximum(boxes[rest, :2], boxes[best, :2])
        shared = corner.clamp(min=0).prod(dim=1)
        order = rest[shared / (area[rest] + area[best] - shared) <= threshold]
    return torch.stack(kept) if kept else boxes.new_empty(0, dtype=torch.long)


def _forget_half_imported() -> None:
    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("nms", suppress_overlaps, "CPU")  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)


def _nms_is_there() -> None:
    """Stand in for torchvision's check for its binary: the one operator that asks has a kernel now."""


ensure_torchvision()
