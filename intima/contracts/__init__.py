"""Frozen shapes that cross a process boundary: one module per subject, no logic."""
