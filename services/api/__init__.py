"""The api: slides in, masks and measures out; benchmarks and jobs."""
