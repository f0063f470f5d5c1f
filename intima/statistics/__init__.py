"""Statistics at tiny N: pure functions on float64 vectors. Nothing here knows where scores come from."""
