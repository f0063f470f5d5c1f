"""What held-out cases say of a model's uncertainty: gathered per case, pooled over subjects for the card."""

from intima.evidence.case import HeldOut, gather_case
from intima.evidence.pool import Measured, pool_evidence

__all__ = ["HeldOut", "Measured", "gather_case", "pool_evidence"]
