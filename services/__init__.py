"""The doors: they translate HTTP, gRPC and queue messages into calls of use cases."""
