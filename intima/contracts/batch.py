"""Many slides segmented alike, as one thing to start, watch and retry."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from intima.contracts._base import Contract
from intima.contracts.job import JobState
from intima.contracts.segmentation import SegmentationRequest

MOST_SLIDES = 500

SlideId = Annotated[str, Field(min_length=1, max_length=48)]
ItemState = JobState | Literal["refused"]
BatchState = Literal["queued", "running", "succeeded", "incomplete", "failed", "canceled"]
"""incomplete: none waits or runs any more, some have a result and some have none. failed: none has one."""


class BatchRequest(Contract):
    """Body of POST /v1/batches."""

    slides: tuple[SlideId, ...] = Field(min_length=1, max_length=MOST_SLIDES)
    segmentation: SegmentationRequest
    """The same for every slide."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.slides)) != len(self.slides):
            twice = next(s for n, s in enumerate(self.slides) if s in self.slides[:n])
            raise ValueError(f"the slide {twice} is named twice")
        return self


class ItemError(Contract):
    """Why a slide of a batch has no result."""

    code: str
    message: str
    hint: str = ""


class BatchItem(Contract):
    """One slide of a batch."""

    slide: str
    slide_name: str | None
    """Null where there is no such slide."""
    segmentation: str | None
    """Null where it was refused."""
    job: str | None
    state: ItemState
    fraction: float
    """Of the work on this slide that is done, 0 to 1."""
    error: ItemError | None


class BatchCounts(Contract):
    """Slides of a batch by state; canceling counts as running, validating as queued."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    refused: int = 0

    @property
    def state(self) -> BatchState:
        """State of the whole."""
        if self.running:
            return "running"
        if self.queued:
            return "running" if self.succeeded or self.failed else "queued"
        if self.failed or self.canceled or self.refused:
            if self.succeeded:
                return "incomplete"
            return "failed" if self.failed or self.refused else "canceled"
        return "succeeded"


class BatchSummary(Contract):
    """A batch in a list."""

    id: str
    state: BatchState
    counts: BatchCounts
    segmentation: SegmentationRequest
    created_at: str


class BatchView(BatchSummary):
    """A batch with its slides, in the order they were named."""

    fraction: float
    """Mean over the slides; one without a result to come counts as done."""
    items: tuple[BatchItem, ...]
