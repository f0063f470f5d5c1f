"""What a bench returns beside 0, every goal met, and 1, one missed."""

NOT_MEASURED = 3
"""What it needs is not installed here."""
