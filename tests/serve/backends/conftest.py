"""A small network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with a free batch: logits = (x, -2 x), and the mean over space; features come first."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["tile", "axes"], ["features_0"], keepdims=0),
            helper.make_node("Mul", ["tile", "factor"], ["minus"]),
            helper.make_node("Concat", ["tile", "minus"], ["logits"], axis=1),
        ],
        "small",
        [helper.make_tensor_value_info("tile", TensorProto.FLOAT, ["batch", 1, 4, 6])],
        [
            helper.make_tensor_value_info("features_0", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, 4, 6]),
        ],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array(-2, np.float32), "factor"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    target = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(model, target)
    return target
