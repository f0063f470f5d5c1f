"""The trainer: Celery workers that run the units of benchmarks."""
