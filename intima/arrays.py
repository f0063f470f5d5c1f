"""Named array types. Every array in the code is one of these; shape, dtype and range stand here."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) uint8, sRGB, 0..255, origin top left."""

LabelMask: TypeAlias = NDArray[np.uint8]
"""(height, width) uint8 class indices of a LabelSchema."""

BinaryMask: TypeAlias = NDArray[np.bool_]
"""(height, width) bool."""

TileBatch: TypeAlias = NDArray[np.float32]
"""(tiles, 3, height, width) float32 RGB in 0..1; normalisation is part of the net."""

LogitBatch: TypeAlias = NDArray[np.float32]
"""(tiles, channels, height, width) float32 unnormalised class scores."""

Logits: TypeAlias = NDArray[np.float32]
"""(channels, height, width) float32 unnormalised class scores."""

Probabilities: TypeAlias = NDArray[np.float32]
"""(classes, height, width) float32, sums to 1 over classes."""

UncertaintyMap: TypeAlias = NDArray[np.float32]
"""(height, width) float32, 0..1 (normalised by ln C)."""

FloatVector: TypeAlias = NDArray[np.float64]
"""(n,) float64."""

FloatMatrix: TypeAlias = NDArray[np.float64]
"""(rows, columns) float64."""

Json: TypeAlias = dict[str, Any]
"""A JSON object."""

Predict: TypeAlias = Callable[[TileBatch], LogitBatch]
"""The one seam for models: torch in training and ONNX Runtime in serving are both a Predict."""
