"""The stats service: scores in, a verdict out."""
