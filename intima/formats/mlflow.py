"""Write an experiment table in MLflow's file-store layout.

mlruns/<experiment>/<run>/ holds meta.yaml and the folders params, metrics, tags and artifacts. MLflow 3 reads it with
MLFLOW_ALLOW_FILE_STORE=true, and ``mlflow migrate-filestore`` takes it into a database. Values in YAML are written as
JSON, which is YAML too. The same table gives the same bytes.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import IO

from intima.contracts.experiment import ExperimentRow

ROOT = "mlruns"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_STATUS = {"done": 3, "failed": 4, "canceled": 5}
"""FINISHED, FAILED, KILLED by the states of units; units that have not ended are no runs yet."""


def write_mlflow(rows: Iterable[ExperimentRow], out: IO[bytes], *, name: str) -> None:
    """Write a zip with one experiment and one run for every training that has ended.

    Args:
        rows: the experiment table.
        out: where the zip goes.
        name: of the experiment; its id and those of its runs follow from it.
    """
    experiment = str(int(_digest(name)[:15], 16))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        _put(bundle, f"{experiment}/meta.yaml", _yaml(_experiment_meta(experiment, name)))
        for row in rows:
            if row.state in _STATUS:
                run = _digest(f"{name}/{row.unit}")[:32]
                _make_folders(bundle, f"{experiment}/{run}")
                for path, text in _run_files(row, run=run, experiment=experiment):
                    _put(bundle, f"{experiment}/{run}/{path}", text)


def _experiment_meta(experiment: str, name: str) -> dict[str, object]:
    return {
        "artifact_location": f"./{ROOT}/{experiment}",
        "creation_time": 0,
        "experiment_id": experiment,
        "last_update_time": 0,
        "lifecycle_stage": "active",
        "name": name,
    }


def _run_files(row: ExperimentRow, *, run: str, experiment: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a run by their paths inside its folder."""
    start, end = _milliseconds(row.started_at), _milliseconds(row.finished_at)
    meta: dict[str, object] = {
        "artifact_uri": f"./{ROOT}/{experiment}/{run}/artifacts",
        "end_time": end,
        "entry_point_name": "",
        "experiment_id": experiment,
        "lifecycle_stage": "active",
        "run_id": run,
        "run_name": row.unit,
        "run_uuid": run,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": start,
        "status": _STATUS[row.state],
        "tags": [],
        "user_id": "intima",
    }
    yield "meta.yaml", _yaml(meta)
    for name, value in sorted({**_what(row), **row.parameters}.items()):
        yield f"params/{name}", _text(value)
    for name, points in _metrics(row).items():
        yield f"metrics/{name}", "".join(f"{end} {value!r} {step}\n" for step, value in points)
    yield "artifacts/experiment.json", row.model_dump_json(indent=1) + "\n"
    for name, tag in sorted(_tags(row).items()):
        yield f"tags/{name}", _text(tag)


def _what(row: ExperimentRow) -> dict[str, object]:
    """Return what was trained; a parameter of the search with one of these names stands for itself."""
    fields = ("architecture", "encoder", "encoder_weights", "encoder_training", "input_px")
    place = ("protocol", "repeat", "fold", "number")
    seeds = ("seed", "split_seed", "init_seed", "augmentation_seed")
    return {f: getattr(row, f) for f in (*fields, *place, *seeds) if getattr(row, f) is not None}


def _metrics(row: ExperimentRow) -> dict[str, list[tuple[int, float]]]:
    metrics = {
        "loss": [(p.step, p.loss) for p in row.losses],
        "inner_macro_dice": [(p.step, p.value) for p in row.curve],
        "macro_dice": [] if row.value is None else [(0, row.value)],
        "seconds": [] if row.seconds is None else [(0, row.seconds)],
    }
    return {name: points for name, points in metrics.items() if points}


def _tags(row: ExperimentRow) -> dict[str, object]:
    tags: dict[str, object] = {
        "mlflow.runName": row.unit,
        "intima.kind": row.kind,
        "intima.model": row.model,
        "intima.pruned": row.pruned,
        "intima.selection_biased": row.selection_biased,
    }
    if row.error is not None:
        tags["intima.error"] = row.error
    return tags | {f"intima.{name}_sha256": sha256 for name, sha256 in row.artefacts.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _yaml(values: Mapping[str, object]) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(values.items()))


def _milliseconds(at: str | None) -> int:
    return 0 if at is None else round(1000 * datetime.fromisoformat(at).timestamp())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _make_folders(bundle: zipfile.ZipFile, run: str) -> None:
    """MLflow takes a folder for a run only where it has these three, empty or not."""
    for folder in ("artifacts", "metrics", "params"):
        entry = zipfile.ZipInfo(f"{ROOT}/{run}/{folder}/", date_time=_EPOCH)
        entry.create_system = _UNIX
        entry.external_attr = 0o40755 << 16 | 0x10
        bundle.writestr(entry, b"")


def _put(bundle: zipfile.ZipFile, path: str, text: str) -> None:
    entry = zipfile.ZipInfo(f"{ROOT}/{path}", date_time=_EPOCH)
    entry.create_system = _UNIX
    entry.external_attr = 0o100644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    bundle.writestr(entry, text)
