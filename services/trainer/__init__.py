"""The trainer: Celery workers that train and score."""
