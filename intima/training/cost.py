"""What a net costs: operations and memory are counted, time is measured."""

import statistics
import time
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from intima.arrays import Predict
from intima.contracts.model import Cost, Latency, Precision

_RUNS = 3


def count_cost(net: nn.Module, *, tile_px: int) -> Cost:
    """Count one forward pass of one square tile in float32; the same net gives the same counts on any machine."""
    weights = sum(t.numel() * t.element_size() for t in [*net.parameters(), *net.buffers()])
    tile = torch.zeros(1, 3, tile_px, tile_px)
    with torch.no_grad(), _LiveBytes() as memory, FlopCounterMode(display=False) as flops:
        net.eval()(tile)
    return Cost(flops=int(flops.get_total_flops()), peak_memory_bytes=weights + memory.peak)


def time_predict(predict: Predict, *, precision: Precision, tile_px: int) -> Latency:
    """Time one tile on one thread of ONNX Runtime on the CPU: the median of a few runs after one to warm up."""
    tile = np.full((1, 3, tile_px, tile_px), 0.5, np.float32)
    predict(tile)
    milliseconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        predict(tile)
        milliseconds.append(1e3 * (time.perf_counter() - started))
    median = round(statistics.median(milliseconds), 3)
    return Latency(precision=precision, provider="CPUExecutionProvider", threads=1, median_ms=median, runs=_RUNS)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the tensors that operations make while they are alive; ``peak`` is the largest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the storages it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            self._note(tensor.untyped_storage())
        self.peak = max(self.peak, self._live)
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self._live += size
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._live -= size


def _tensors(made: object) -> Iterable[torch.Tensor]:
    if isinstance(made, torch.Tensor):
        return [made]
    return [t for t in made if isinstance(t, torch.Tensor)] if isinstance(made, tuple | list) else []
