"""Use case: a published model <-> one zip that other installations, and plain ONNX Runtime, can use."""

from intima.packages.reading import import_package
from intima.packages.writing import write_package

__all__ = ["import_package", "write_package"]
