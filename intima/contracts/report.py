"""What a report of a benchmark is about."""

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.comparison import Margin
from intima.contracts.statistics import CostRule, RankingRequest, Seed


class BenchmarkReportQuery(Contract):
    """Query of GET /v1/benchmarks/{id}/report.{html,pdf}."""

    metric: str = Field(default="dice", max_length=200)
    class_: str = Field(default="macro", alias="class", max_length=200)
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    seed: Seed = 0
    margin: float | None = Field(default=None, ge=1e-6, le=1e9)
    """With it the cheapest of the models equivalent to the best is chosen."""
    cheapest_by: CostRule = "flops"
    higher_is_better: bool | None = None
    """Null: what the metric says."""

    def ranking(self, benchmark: str, protocol: str) -> RankingRequest:
        """Return the request to rank a benchmark under one of its protocols."""
        margin = None if self.margin is None else Margin(value=self.margin)
        body = self.model_dump(by_alias=True) | {"benchmark": benchmark, "protocol": protocol, "margin": margin}
        return RankingRequest.model_validate(body)
