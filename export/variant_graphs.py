"""Networks in reduced precision, made of the float32 file: what comes in and goes out stays float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Precision

from .errors import GraphError
from .onnx_graph import INPUT, LOGITS
from .quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# Sums over a whole tile do not fit into half precision: nnU-Net's own half precision on a GPU normalises in
# float32, too.
_KEEP_FLOAT32 = "InstanceNormalization"


def reduce_graph(
    source: Path, target: Path, precision: Precision, tiles: Sequence[NDArray[np.float32]]
) -> None:
    """Write a fold's network in float16 or int8.

    Args:
        source: the float32 file.
        target: the file to write.
        precision: of the new file.
        tiles: preprocessed tiles (1, channels, *patch), from which int8 takes the range of every layer.

    Raises:
        GraphError: the network cannot be reduced.
        ValueError: for a precision that needs no file.
    """
    if precision not in (Precision.FLOAT16, Precision.INT8):
        raise ValueError(f"{precision.value} needs no file")
    try:
        with quiet():
            if precision is Precision.FLOAT16:
                _to_float16(source, target)
            else:
                _to_int8(source, target, tiles)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise GraphError(f"{source.name} cannot be reduced to {precision.value}: {error}") from error


def _to_float16(source: Path, target: Path) -> None:
    import onnx  # noqa: PLC0415 - slow
    from onnxruntime.transformers import float16  # noqa: PLC0415

    original = onnx.load(source)
    model = float16.convert_float_to_float16(
        original,
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, _KEEP_FLOAT32],
        node_block_list=beside_the_logits(original.graph),
    )
    _drop_repeated_casts(model.graph)
    target.write_bytes(model.SerializeToString(deterministic=True))


def beside_the_logits(graph: Any) -> list[str]:
    """Names of the nodes that the logits do not depend on: features, whose sums must not overflow."""
    needed, names = {LOGITS}, []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            names.append(node.name)
        else:
            needed.update(node.input)
    return names


def _drop_repeated_casts(graph: Any) -> None:
    """Keep one cast of each value: the converter writes one for every node that needs it."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and made.issuperset(node.output):
            graph.node.remove(node)
        made.update(node.output)


def _to_int8(source: Path, target: Path, tiles: Sequence[NDArray[np.float32]]) -> None:
    from onnxruntime import quantization  # noqa: PLC0415 - slow

    class Tiles(quantization.CalibrationDataReader):  # type: ignore[misc]  # the base class is untyped
        """Hands the tiles out one by one."""

        def __init__(self) -> None:
            self._left = iter(tiles)

        def get_next(self) -> dict[str, Any] | None:
            tile = next(self._left, None)
            return None if tile is None else {INPUT: tile}

    quantization.quantize_static(
        source,
        target,
        Tiles(),
        quant_format=quantization.QuantFormat.QOperator,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        nodes_to_exclude=sensitive_convolutions(source),
    )


def sensitive_convolutions(source: Path) -> list[str]:
    """Names of the convolutions that read the image or give the logits: quantised, they cost Dice."""
    import onnx  # noqa: PLC0415 - slow

    return [
        node.name
        for node in onnx.load(source, load_external_data=False).graph.node
        if node.op_type == "Conv" and (INPUT in node.input or LOGITS in node.output)
    ]
