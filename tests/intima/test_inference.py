"""Published networks run as they were checked."""

import numpy as np

from intima.inference import load_onnx
from tests.builders import color_net


def test_a_file_is_read_as_onnx_whatever_mark_it_has():
    """ONNX Runtime takes bytes with ORTM at 4 to 8 for its own format, which the gate does not read."""
    tiles = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    both = load_onnx(b"\x08\x08\x12\x04ORTM" + color_net())
    np.testing.assert_array_equal(both.predict(tiles), load_onnx(color_net()).predict(tiles))
