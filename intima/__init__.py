"""Intima: arterial segmentation, honest benchmarks and verdicts at tiny sample sizes."""

__version__ = "0.1.0"
