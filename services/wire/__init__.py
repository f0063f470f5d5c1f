"""Messages of the gRPC doors."""
