"""The gRPC door of the api: the Open Inference Protocol and segmentations, by the use cases of the REST door."""

from services.api.rpc.server import create_server

__all__ = ["create_server"]
