"""A margin derived from data: from observers who annotated the same subjects, or from an endpoint."""

from typing import Literal

from pydantic import Field, model_validator

from intima.contracts._base import Contract
from intima.contracts.comparison import LONGEST_PROTOCOL, MOST_SCORES, Margin
from intima.contracts.dataset import Name


class ObserverScores(Contract):
    """The same thing scored against the annotation of each observer, in long form.

    Either the metric of one model's masks against every observer's, or a measure taken from every observer's masks.
    """

    scores: tuple[float, ...] = Field(max_length=MOST_SCORES)
    subjects: tuple[Name, ...] = Field(max_length=MOST_SCORES)
    observers: tuple[Name, ...] = Field(max_length=MOST_SCORES)

    @model_validator(mode="after")
    def _equal_lengths(self) -> "ObserverScores":
        if not len(self.scores) == len(self.subjects) == len(self.observers):
            raise ValueError("Give one subject and one observer for each score.")
        return self


class EndpointScores(Contract):
    """A metric and the error of an endpoint of the same models on the same subjects: a benchmark, or in long form."""

    largest: float = Field(ge=1e-6, le=1e9)
    """Largest change of the endpoint that does not matter, in its own units."""
    endpoint: str = Field(default="im_error", max_length=200)
    """Metric that is the error of the endpoint; 0 is none. Of signed errors the size is taken."""
    endpoint_class: str = Field(default="macro", max_length=200)
    benchmark: str | None = None
    protocol: str | None = Field(default=None, max_length=LONGEST_PROTOCOL)
    scores: tuple[float, ...] | None = Field(default=None, max_length=MOST_SCORES)
    endpoint_errors: tuple[float, ...] | None = Field(default=None, max_length=MOST_SCORES)
    subjects: tuple[Name, ...] | None = Field(default=None, max_length=MOST_SCORES)
    models: tuple[Name, ...] | None = Field(default=None, max_length=MOST_SCORES)

    @model_validator(mode="after")
    def _one_source(self) -> "EndpointScores":
        columns = (self.scores, self.endpoint_errors, self.subjects, self.models)
        given = [c for c in columns if c is not None]
        if (self.benchmark is None) != (len(given) == len(columns)) or 0 < len(given) < len(columns):
            raise ValueError("Give either a benchmark, or scores, endpoint_errors, subjects and models.")
        if len({len(c) for c in given}) > 1:
            raise ValueError("Give one endpoint error, one subject and one model for each score.")
        return self


class MarginRequest(Contract):
    """Body of POST /v1/margins."""

    observers: ObserverScores | None = None
    endpoint: EndpointScores | None = None
    metric: str = Field(default="dice", max_length=200)
    """What the margin is for."""
    class_: str = Field(default="macro", alias="class", max_length=200)
    higher_is_better: bool | None = None
    """Null: what the metric says; unknown metrics count as better when higher."""

    @model_validator(mode="after")
    def _one_basis(self) -> "MarginRequest":
        if (self.observers is None) == (self.endpoint is None):
            raise ValueError("Give exactly one of observers and endpoint.")
        return self


class ObserverBias(Contract):
    """How two observers differ on average."""

    a: str
    b: str
    difference: float
    """Mean of a - b over subjects."""
    ci95: tuple[float, float] | None
    """Paired t; null where the difference is the same on every subject."""
    systematic: bool
    """Whether it is shown (Bonferroni over pairs of observers), or the same on every subject and not zero."""


class Slope(Contract):
    """How far the endpoint's error grows per unit by which the metric gets worse, between models on one subject."""

    value: float
    ci95: tuple[float, float]


class MarginAnswer(Contract):
    """Answer of POST /v1/margins; ``margin`` fits into a plan or a comparison as it is."""

    metric: str
    class_: str = Field(alias="class")
    unit: Literal["subject"] = "subject"
    n_units: int
    margin: Margin | None
    """``low``, as the estimate itself may be too large by chance, but no more than the largest gap between models on
    one subject; null where the data give none, or one below 1e-6."""
    estimate: float | None
    """The margin without that allowance; null where the metric is not seen to move the endpoint."""
    low: float | None
    """95 % interval of the margin."""
    high: float | None
    """Null: no upper limit."""
    observer_biases: tuple[ObserverBias, ...]
    slope: Slope | None
    """Of an endpoint; null from observers."""
    sentence: str
    warnings: tuple[str, ...]
    provenance: dict[str, object]
