"""The gRPC door of the stats service: the same use cases and the same answers as REST."""

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from intima.comparison.estimation import estimate_interval, plan_power
from intima.comparison.margins import derive_margin
from intima.comparison.ranking import rank_models
from intima.comparison.stability import stream_stability, study_stability
from intima.comparison.verdict import decide_equivalence
from intima.contracts._base import Contract
from intima.contracts.comparison import ComparisonRequest
from intima.contracts.margin import MarginRequest
from intima.contracts.plan import PlanRef, PlanRequest
from intima.contracts.statistics import IntervalRequest, PowerRequest, RankingRequest, StabilityRequest
from intima.errors import Conflict, IntimaError, Invalid, NotFound, Unavailable
from services.stats.dependencies import State
from services.wire.convert import to_contract, to_message
from services.wire.v1 import comparison_pb2 as pb
from services.wire.v1 import comparison_pb2_grpc as pb_grpc

SERVICE = "intima.v1.Comparison"
STATUS: dict[type[IntimaError], grpc.StatusCode] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC status of the four error families."""

_log = logging.getLogger("intima.rpc")
C = TypeVar("C", bound=Contract)
M = TypeVar("M", bound=Message)


class ComparisonDoor(pb_grpc.ComparisonServicer):
    """Translate calls to use cases."""

    def __init__(self, state: State) -> None:
        self._state = state

    def Compare(self, request: pb.ComparisonRequest, context: grpc.ServicerContext) -> pb.Verdict:  # noqa: N802
        """POST /v1/comparisons."""
        return self._answer(request, context, ComparisonRequest, self._compare, pb.Verdict)

    def _compare(self, request: ComparisonRequest) -> Contract:
        return decide_equivalence(request, fetch=self._state.fetch, plans=self._state.plans)

    def LockPlan(self, request: pb.PlanRequest, context: grpc.ServicerContext) -> pb.Plan:  # noqa: N802
        """POST /v1/plans."""
        return self._answer(request, context, PlanRequest, self._state.lock_plan, pb.Plan)

    def GetPlan(self, request: pb.PlanRef, context: grpc.ServicerContext) -> pb.Plan:  # noqa: N802
        """GET /v1/plans/{id}."""
        return self._answer(request, context, PlanRef, lambda r: self._state.plans.find(r.plan), pb.Plan)

    def DeriveMargin(self, request: pb.MarginRequest, context: grpc.ServicerContext) -> pb.MarginAnswer:  # noqa: N802
        """POST /v1/margins."""
        derive = partial(derive_margin, fetch_table=self._state.fetch_table)
        return self._answer(request, context, MarginRequest, derive, pb.MarginAnswer)

    def Rank(self, request: pb.RankingRequest, context: grpc.ServicerContext) -> pb.Ranking:  # noqa: N802
        """POST /v1/rankings."""
        return self._answer(
            request, context, RankingRequest, lambda r: rank_models(r, fetch_table=self._state.fetch_table), pb.Ranking
        )

    def EstimateInterval(  # noqa: N802
        self, request: pb.IntervalRequest, context: grpc.ServicerContext
    ) -> pb.IntervalAnswer:
        """POST /v1/intervals."""
        return self._answer(request, context, IntervalRequest, estimate_interval, pb.IntervalAnswer)

    def PlanPower(self, request: pb.PowerRequest, context: grpc.ServicerContext) -> pb.PowerAnswer:  # noqa: N802
        """POST /v1/power."""
        return self._answer(request, context, PowerRequest, plan_power, pb.PowerAnswer)

    def StudyStability(  # noqa: N802
        self, request: pb.StabilityRequest, context: grpc.ServicerContext
    ) -> pb.StabilityAnswer:
        """POST /v1/stability."""
        return self._answer(request, context, StabilityRequest, study_stability, pb.StabilityAnswer)

    def StreamStability(  # noqa: N802
        self, request: pb.StabilityRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StabilityPoint]:
        """POST /v1/stability point by point; a client that goes away ends the study after the point in work."""
        with _refusals(context):
            for point in stream_stability(to_contract(request, StabilityRequest)):
                if not context.is_active():
                    return
                yield to_message(point, pb.StabilityPoint)

    def _answer(
        self,
        request: Message,
        context: grpc.ServicerContext,
        contract: type[C],
        use_case: Callable[[C], Contract],
        answer: type[M],
    ) -> M:
        """Run a use case, held to the metadata "idempotency-key"."""
        metadata = dict(context.invocation_metadata() or ())
        key, route = metadata.get("idempotency-key"), f"rpc/{type(request).__name__}"
        with _refusals(context), self._state.keyed(key, route, request.SerializeToString(deterministic=True)):
            return to_message(use_case(to_contract(request, contract)), answer)


@contextmanager
def _refusals(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn errors into a status with the problem as JSON in the trailing metadata."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        _abort(context, Invalid(f"{pointer or 'request'}: {first['msg']}", pointer=pointer))
    except IntimaError as error:
        _abort(context, error)


def _abort(context: grpc.ServicerContext, error: IntimaError) -> NoReturn:
    request_id = f"req_{uuid.uuid4().hex}"
    status = next((s for family, s in STATUS.items() if isinstance(error, family)), grpc.StatusCode.INTERNAL)
    problem = {"code": error.code, "pointer": error.pointer, "hint": error.hint, "request_id": request_id}
    _log.info("%s %s %s", status.name, error.message, request_id)
    context.set_trailing_metadata((("intima-problem-bin", json.dumps(problem).encode()),))
    context.abort(status, f"{error.message} {error.hint}".strip())
    raise AssertionError("abort raises")


def create_server(state: State) -> tuple[grpc.Server, int]:
    """Return a gRPC server with health and reflection, bound but not started, and its port.

    Raises:
        Unavailable: the port is taken.
    """
    limits = [("grpc.max_receive_message_length", state.settings.max_body_bytes), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(state.settings.stats_grpc_workers, "intima-rpc"), options=limits)
    pb_grpc.add_ComparisonServicer_to_server(ComparisonDoor(state), server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    for name in ("", SERVICE):
        health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, _bind(server, state)


def _bind(server: grpc.Server, state: State) -> int:
    address = f"{state.settings.host}:{state.settings.stats_grpc_port or 0}"
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise Unavailable(f"{address} is taken.", hint="Choose another INTIMA_STATS_GRPC_PORT.") from error
