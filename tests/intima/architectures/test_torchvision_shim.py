"""torchvision imports, and the stand-in for its box suppression keeps the contract."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.architectures.torchvision_shim import ensure_torchvision, suppress_overlaps


def test_torchvision_imports_and_its_nms_runs():
    torchvision = ensure_torchvision()
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
    assert kept.tolist() == [1, 2]


def test_other_import_errors_are_not_swallowed(monkeypatch):
    def broken(_name):
        raise RuntimeError("something else")

    monkeypatch.setattr("intima.architectures.torchvision_shim.importlib.import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        ensure_torchvision()


def test_no_boxes_keep_none():
    assert suppress_overlaps(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def plain_nms(boxes, scores, threshold):
    def overlap(a, b):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(0, width) * max(0, height)
        area = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
        return shared / (area - shared)

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


BOX = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 15)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=60)
@given(st.lists(BOX, min_size=1, max_size=12), st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.randoms())
def test_equals_the_plain_algorithm(boxes, threshold, random):
    scores = [i / 100 for i in random.sample(range(100), len(boxes))]
    kept = suppress_overlaps(torch.tensor(boxes, dtype=torch.float64), torch.tensor(scores), threshold)
    assert kept.tolist() == plain_nms(boxes, scores, threshold)
