"""Network -> ONNX file, and the checks that the file is the network.

The graph has a fixed tile and a free batch: instance normalisation makes another tile size another function.
Outputs are ``logits`` (batch, heads, *patch) and, for encoder-decoder networks, ``features_0`` and so on:
what ``features.py`` makes of every encoder stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import FeatureStage

from .errors import ExportRefused, GraphError, Reason
from .features import MOMENTS, with_features
from .quiet import quiet

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 20
INPUT, LOGITS = "input", "logits"
# ONNX Runtime against PyTorch, share of the output's range. Measured: logits 1e-6 on random networks (plain
# and residual, to 64^3), 6e-6 on a trained one; a wrong operator makes 1e-2 and more. Features are float32
# sums over a whole tile that nearly cancel: 4e-5 at 48^3.
TOLERANCE = 5e-5
FEATURE_TOLERANCE = 1e-3
MAX_BATCH = 64
# what nnU-Net's convolutional U-Nets are made of; attention, loops and data-dependent shapes are not among it
ALLOWED = frozenset({
    "Conv", "ConvTranspose", "InstanceNormalization", "BatchNormalization", "GroupNormalization",
    "LeakyRelu", "Relu", "PRelu", "Elu", "Sigmoid", "Tanh", "Gelu", "Erf", "Softplus",
    "Add", "Sub", "Mul", "Div", "Sqrt", "Concat", "Slice", "Pad", "Identity", "Constant", "Cast",
    "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean",
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape",
})  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """An exported network."""

    path: Path
    features: tuple[FeatureStage, ...]
    operators: dict[str, int]
    difference: float  # largest of the logits against PyTorch, share of their range


def export_graph(
    network: Any, path: Path, *, channels: int, patch_size: tuple[int, ...], identity: dict[str, str]
) -> Graph:
    """Write the network as one ONNX file and check it.

    Args:
        network: (B, channels, *patch) -> (B, heads, *patch), in evaluation mode.
        path: the file to write.
        channels: number of input channels.
        patch_size: the tile, 2 or 3 entries.
        identity: written into the file's metadata.

    Raises:
        ExportRefused: the network cannot be expressed, or needs operators other than a convolutional U-Net's.
        GraphError: the file is not what it must be; nothing of it may be used.
    """
    wrapped = with_features(network)
    shapes = _shapes(wrapped, (channels, *patch_size))
    model = _to_onnx(wrapped, shapes)
    operators = _census(model)
    _name(model, identity)
    path.write_bytes(model.SerializeToString(deterministic=True))
    _check_interface(path, shapes)
    features = tuple(
        FeatureStage(output=name, channels=shapes[name][0], moments=MOMENTS) for name in list(shapes)[2:]
    )
    return Graph(path, features, operators, _compare(path, wrapped, shapes[INPUT]))


def _shapes(wrapped: Any, tile: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes behind the batch by name: the input, the logits, then the features."""
    import torch  # noqa: PLC0415

    with torch.no_grad():
        logits, *features = wrapped(torch.zeros((1, *tile)))
    stages = {f"features_{stage}": tuple(feature.shape[1:]) for stage, feature in enumerate(features)}
    return {INPUT: tile, LOGITS: tuple(logits.shape[1:]), **stages}


def _to_onnx(wrapped: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    import torch  # noqa: PLC0415

    example = torch.zeros((2, *shapes[INPUT]))  # of a batch of 1, tracing would make a constant
    try:
        with quiet():
            program = torch.onnx.export(
                wrapped,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(shapes)[1:],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
                verbose=False,
            )
            assert program is not None, "the dynamo exporter returns a program"
            return program.model_proto
    except Exception as error:
        what = (
            f"{type(wrapped.network).__name__} cannot be expressed in ONNX: {type(error).__name__}: {error}"
        )
        raise ExportRefused([Reason(what[:600] + ".", _OTHER_NETWORK)]) from error


_OTHER_NETWORK = (
    "Only nnU-Net's convolutional U-Nets (plain and residual encoder, 2D and 3D) can be exported."
)


def _census(model: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in model.graph.node:
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        counts[name] = counts.get(name, 0) + 1
    counts = dict(sorted(counts.items()))
    foreign = sorted(set(counts) - ALLOWED)
    if foreign or model.functions:
        raise ExportRefused(
            [Reason(f"The network needs the operators {', '.join(foreign)}.", _OTHER_NETWORK)]
        )
    return counts


def _name(model: Any, identity: dict[str, str]) -> None:
    """Put the identity where the exporter left stack traces with this machine's paths."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (model, graph, *graph.node, *values):
        del part.metadata_props[:]
        part.doc_string = ""
    for key, value in sorted(identity.items()):
        model.metadata_props.add(key=key, value=value)


def _check_interface(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Checker, names, and shapes: the batch alone is free."""
    import onnx  # noqa: PLC0415

    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path).graph
    seen = {value.name: _fixed_shape(value) for value in (*graph.input, *graph.output)}
    if seen != shapes:
        raise GraphError(f"The graph's inputs and outputs are {seen}, expected {shapes} behind a free batch.")


def _fixed_shape(value: Any) -> tuple[int, ...]:
    batch, *rest = value.type.tensor_type.shape.dim
    if not batch.dim_param or any(not dimension.HasField("dim_value") for dimension in rest):
        raise GraphError(
            f"{value.name}: the batch must be free and every other axis fixed, not {list(rest)}."
        )
    return tuple(dimension.dim_value for dimension in rest)


def _compare(path: Path, wrapped: Any, tile: tuple[int, ...]) -> float:
    """Every output against PyTorch on random tiles, batch 1 and 3; logits also against the bare network."""
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415
    import torch  # noqa: PLC0415

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    generator = np.random.default_rng(0)
    worst = 0.0
    for batch in (1, 3):
        tiles = generator.normal(size=(batch, *tile)).astype(np.float32)
        with torch.no_grad():
            expected = list(wrapped(torch.from_numpy(tiles)))
            if batch == 1:
                expected[0] = wrapped.network(torch.from_numpy(tiles))
        for name, got, want in zip(names, session.run(None, {INPUT: tiles}), expected, strict=True):
            difference = relative_difference(got, want.numpy())
            _require_small(difference, f"{path.name}: at batch {batch}, {name}", is_logits=name == LOGITS)
            worst = max(worst, difference) if name == LOGITS else worst
    return worst


def _require_small(difference: float, what: str, *, is_logits: bool) -> None:
    allowed = TOLERANCE if is_logits else FEATURE_TOLERANCE
    if not difference <= allowed:
        raise GraphError(
            f"{what} differs from PyTorch by {difference:.2e} of its range; {allowed:.0e} is allowed. "
            "Nothing was kept."
        )


def relative_difference(got: Any, want: Any) -> float:
    """Largest absolute difference as a share of the wanted array's range, zero included.

    Pooled features are nearly equal to each other, far from zero: their own range would be no measure.

    Example:
        >>> import numpy as np
        >>> relative_difference(np.array([-1.0, 3.5]), np.array([-1.0, 3.0]))
        0.125
    """
    import numpy as np  # noqa: PLC0415

    extent = float(max(want.max(), 0) - min(want.min(), 0)) or 1.0
    return float(np.abs(np.asarray(got, np.float64) - want).max()) / extent
