"""The experiment table of a benchmark: JSON in pages, CSV, and MLflow's file layout."""

import io

from fastapi import APIRouter, Response
from pydantic import BaseModel

from intima.contracts.experiment import ExperimentRow
from intima.contracts.job import UnitState
from intima.experiments import all_experiments, page_experiments
from intima.formats.mlflow import write_mlflow
from intima.formats.tables import experiments_csv
from services.api.dependencies import ReadDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1/benchmarks", tags=["benchmarks"])


class ExperimentPage(BaseModel):
    """One page of an experiment table."""

    items: list[ExperimentRow]
    next_page_token: str


@router.get("/{benchmark_id}/experiments", operation_id="list_experiments")
def list_experiments(
    *,
    benchmark_id: str,
    connection: ReadDep,
    state: UnitState | None = None,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> ExperimentPage:
    """List every trial, fold and fit in the order of the plan, finished or not, or those of one state.

    Those that run show their curves as of some seconds ago.
    """
    page = page_experiments(connection, benchmark_id, state=state, page_size=page_size, page_token=page_token)
    return ExperimentPage(items=list(page.items), next_page_token=page.next_page_token)


@router.get(
    "/{benchmark_id}/experiments.csv",
    operation_id="get_experiments_csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_experiments_csv(benchmark_id: str, connection: ReadDep) -> Response:
    """Return the experiment table as CSV, one column for each parameter."""
    table = experiments_csv(list(all_experiments(connection, benchmark_id)))
    headers = {"Content-Disposition": 'attachment; filename="experiments.csv"'}
    return Response(table, media_type="text/csv", headers=headers)


@router.get(
    "/{benchmark_id}/experiments.mlflow.zip",
    operation_id="get_experiments_mlflow",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def get_experiments_mlflow(benchmark_id: str, connection: ReadDep) -> Response:
    """Return the trainings that have ended as runs of MLflow's file store (MLFLOW_ALLOW_FILE_STORE=true)."""
    out = io.BytesIO()
    write_mlflow(all_experiments(connection, benchmark_id), out, name=benchmark_id)
    headers = {"Content-Disposition": 'attachment; filename="experiments.mlflow.zip"'}
    return Response(out.getvalue(), media_type="application/zip", headers=headers)
