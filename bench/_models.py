"""The models that benches look at: the shipped one, and the nets of the folds of a finished benchmark."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from intima.architectures.net import SegmentationNet
from intima.arrays import RgbImage
from intima.benchmark.recipe import read_dataset, resolution_of, restore_trained
from intima.contracts.benchmark import FoldPayload, FoldResult
from intima.contracts.dataset import Dataset, StoredCase
from intima.inference import LoadedModel, load_model
from intima.registry import publish_default
from intima.store import ledger
from intima.store.storage import Storage, open_storage
from intima.training.data import read_working_image
from intima.training.scoring import Tiling


def shipped_model() -> LoadedModel:
    """Return the model that comes with Intima."""
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder))
        model = load_model(storage, publish_default(storage).ref)
        storage.close()
    return model


@dataclass(frozen=True, slots=True)
class FoldNet:
    """A net of a fold, and the cases it was not trained on."""

    net: SegmentationNet
    tiling: Tiling
    dataset: Dataset
    tests: tuple[tuple[StoredCase, RgbImage], ...]
    """Test cases with their images at the working resolution."""


def fold_nets(storage: Storage, *, model: str, protocol: str) -> Iterator[FoldNet]:
    """Yield the nets of a contender's folds under one protocol, of the one benchmark of a store."""
    with storage.reading() as connection:
        (job,) = {j.id for j in ledger.list_jobs(connection, page_size=50).items if j.kind == "benchmark"}
        keys = ledger.unit_keys(connection, job, kinds=["fold"], states=["done"])
        payloads, results = ledger.payloads_of(connection, job, keys), ledger.results_of(connection, job, keys)
    for key in keys:
        payload, result = FoldPayload.model_validate(payloads[key]), FoldResult.model_validate(results[key])
        if (payload.study.label, payload.split.protocol) == (model, protocol):
            yield _fold_net(storage, payload, result)


def _fold_net(storage: Storage, payload: FoldPayload, result: FoldResult) -> FoldNet:
    dataset = read_dataset(storage, payload.dataset)
    if result.weights_sha256 is None:
        message = "This benchmark was run by a version that kept no weights of its folds."
        raise ValueError(message)
    architecture, net = restore_trained(
        storage,
        payload.study,
        classes=len(dataset.classes),
        parameters=result.parameters,
        weights_sha256=result.weights_sha256,
    )
    resolution = resolution_of(dataset, payload.study, input_px=architecture.input_px)
    held_out = [case for case in dataset.cases if case.case in payload.split.test]
    tests = tuple((case, read_working_image(storage, case, resolution=resolution)) for case in held_out)
    return FoldNet(net, Tiling.of(architecture), dataset, tests)
