"""The gRPC door of the stats service: the same use cases and the same answers as REST."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import grpc
from google.protobuf.message import Message

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
from services.access.calls import TokenInterceptor, admit_call
from services.access.gate import Operation
from services.rpc import RpcDoor, bind, describe, new_server, refusals
from services.stats.dependencies import State
from services.stats.rules import CALL_RULES, ENTERS_TRAIL
from services.wire.convert import to_contract, to_message
from services.wire.v1 import comparison_pb2 as pb
from services.wire.v1 import comparison_pb2_grpc as pb_grpc

SERVICE = "intima.v1.Comparison"
C = TypeVar("C", bound=Contract)
M = TypeVar("M", bound=Message)


class ComparisonDoor(pb_grpc.ComparisonServicer):
    """Translate calls to use cases."""

    def __init__(self, state: State) -> None:
        self._state = state

    def Compare(self, request: pb.ComparisonRequest, context: grpc.ServicerContext) -> pb.Verdict:  # noqa: N802
        """POST /v1/comparisons."""
        if request.HasField("plan"):
            entering = Operation(f"{SERVICE}/Compare", ENTERS_TRAIL)
            admit_call(self._state.gate, entering, context, size=request.ByteSize())
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
        with refusals(context):
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
        with refusals(context), self._state.keyed(key, route, request.SerializeToString(deterministic=True)):
            return to_message(use_case(to_contract(request, contract)), answer)


def create_server(state: State) -> RpcDoor:
    """Return a gRPC server with health and reflection, bound but not started.

    Raises:
        Conflict: an address that other machines reach, without TLS and without a trusted proxy in front.
        Invalid: the TLS files cannot be used.
        Unavailable: the port is taken.
    """
    settings = state.settings
    server = new_server(
        workers=settings.stats_grpc_workers,
        max_message_bytes=settings.max_body_bytes,
        interceptors=[TokenInterceptor(state.gate, CALL_RULES)],
    )
    pb_grpc.add_ComparisonServicer_to_server(ComparisonDoor(state), server)
    port = bind(
        server,
        settings.host,
        settings.stats_grpc_port,
        setting="INTIMA_STATS_GRPC_PORT",
        tls=settings.grpc_tls,
        behind_proxy=settings.behind_proxy,
    )
    return RpcDoor(server, port, describe(server, SERVICE))
