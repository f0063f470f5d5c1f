"""What every operation of the stats service takes. A route that is not here keeps the service from starting."""

from collections.abc import Mapping

from services.access.gate import ANYBODY, READ, TRAIN, Rule

ENTERS_TRAIL = TRAIN
"""What a comparison under a plan takes, as it is entered into the plan's trail."""

RULES: Mapping[str, Rule] = {
    "get_liveness": ANYBODY,
    "get_readiness": ANYBODY,
    "compare_models": READ,
    "draw_comparison": READ,
    "report_comparison": READ,
    "rank_models": READ,
    "draw_ranking": READ,
    "report_ranking": READ,
    "report_benchmark": READ,
    "derive_margin": READ,
    "compute_intervals": READ,
    "compute_power": READ,
    "draw_power": READ,
    "study_stability": READ,
    "draw_stability": READ,
    "get_stability_study": READ,
    "draw_stability_study": READ,
    "lock_plan": TRAIN,
    "list_plans": READ,
    "get_plan": READ,
}
"""By operation id."""

CALL_RULES: Mapping[str, Rule] = {
    "intima.v1.Comparison/Compare": READ,
    "intima.v1.Comparison/LockPlan": TRAIN,
    "intima.v1.Comparison/GetPlan": READ,
    "intima.v1.Comparison/DeriveMargin": READ,
    "intima.v1.Comparison/Rank": READ,
    "intima.v1.Comparison/EstimateInterval": READ,
    "intima.v1.Comparison/PlanPower": READ,
    "intima.v1.Comparison/StudyStability": READ,
    "intima.v1.Comparison/StreamStability": READ,
}
"""By gRPC method; one that is not here is for administrators."""
