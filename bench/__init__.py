"""Measurements; each module prints one table. ``python -m bench`` lists them, ``python -m bench NAME`` runs one."""
