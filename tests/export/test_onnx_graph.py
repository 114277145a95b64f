"""The file is the network: interface, values, determinism, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from nnunet_losses.export.errors import ExportRefused, GraphError
from nnunet_losses.export.features import MOMENTS, moments, sampling_step
from nnunet_losses.export.onnx_graph import TOLERANCE, export_graph
from nnunet_losses.serve.bundle import file_sha256
from tests.models import random_network

from .conftest import BASE

TILE = (1, *BASE.patch_size)


def export(network, path, identity=None):
    return export_graph(network.eval(), path, channels=1, patch_size=BASE.patch_size, identity=identity or {})


@pytest.fixture(scope="module")
def network():
    return random_network(BASE, seed=0).eval()


@pytest.fixture(scope="module")
def graph(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("graph") / "fold_0.onnx", {"model": "m", "fold": "0"})


def test_features_are_moments_at_two_places_of_each_stage(network, graph):
    tiles = torch.randn((3, *TILE), generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    logits, *features = session.run(None, {"input": tiles.numpy()})
    before, remove = [], []
    for stage in network.encoder.stages:
        convolution = stage[0].convs[-1].conv
        remove.append(
            convolution.register_forward_hook(lambda _module, _inputs, output: before.append(output))
        )
    with torch.no_grad():
        skips = network.encoder(tiles)
        expected = network(tiles).numpy()
    for handle in remove:
        handle.remove()
    assert np.abs(logits - expected).max() <= TOLERANCE * np.ptp(expected)
    assert len(features) == len(skips) == 2
    for feature, *places in zip(features, before[:2], skips, strict=True):
        wanted = [
            moment
            for place in places
            for moment in (place.mean((2, 3, 4)), place.std((2, 3, 4), correction=0))
        ]
        np.testing.assert_allclose(feature, torch.cat(wanted, 1).numpy(), atol=1e-5)


def test_brightness_shows_before_normalisation_alone(graph):
    """Behind an instance normalisation the moments of the first stage hardly know contrast."""
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    tiles = np.random.default_rng(0).normal(size=(1, *TILE)).astype(np.float32)
    plain, weak = (session.run(["features_0"], {"input": factor * tiles})[0][0] for factor in (1, 0.5))
    ratio = np.abs(weak / plain).reshape(4, -1)[[1, 3]]  # the deviations
    np.testing.assert_allclose(ratio[0], 0.5, rtol=1e-3)
    np.testing.assert_allclose(ratio[1], 1.0, rtol=0.05)


def test_large_stages_are_sampled_on_a_grid():
    stage = torch.randn((1, 2, 40, 41, 33), generator=torch.Generator().manual_seed(0))
    assert sampling_step((40, 41, 33)) == 2
    mean, deviation = moments(stage)
    sampled = stage[..., ::2, ::2, ::2]
    torch.testing.assert_close(mean, sampled.mean((2, 3, 4)))
    torch.testing.assert_close(deviation, sampled.std((2, 3, 4), correction=0))


def test_interface(graph):
    model = onnx.load(graph.path)
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in (*model.graph.input, *model.graph.output)}  # fmt: skip
    assert shapes == {
        "input": ["batch", *TILE],
        "logits": ["batch", 3, *BASE.patch_size],
        "features_0": ["batch", 4 * 4],
        "features_1": ["batch", 4 * 8],
    }
    assert [(stage.output, stage.channels) for stage in graph.features] == [
        ("features_0", 4 * 4),
        ("features_1", 4 * 8),
    ]
    assert all(stage.moments == MOMENTS for stage in graph.features)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"model": "m", "fold": "0"}
    assert list(graph.path.parent.iterdir()) == [graph.path]
    assert set(graph.operators) == {
        "Conv",
        "ConvTranspose",
        "InstanceNormalization",
        "LeakyRelu",
        "Concat",
        "ReduceMean",
        "Reshape",
        "Mul",
        "Sub",
        "Sqrt",
    }
    assert graph.difference <= TOLERANCE


def test_same_network_gives_the_same_file(network, graph, tmp_path):
    again = export(network, tmp_path / "again.onnx", {"fold": "0", "model": "m"})
    assert file_sha256(again.path) == file_sha256(graph.path)


def test_nothing_machine_specific_is_in_the_file(graph):
    assert b"site-packages" not in graph.path.read_bytes()
    assert b".py" not in graph.path.read_bytes()


class Attention(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return torch.softmax(flat @ flat.transpose(1, 2), -1) @ flat


class DataDependent(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(("network", "reason"), [
    (Attention(), "needs the operators .*MatMul"),
    (DataDependent(), "cannot be expressed in ONNX"),
])  # fmt: skip
def test_other_networks_are_refused(network, reason, tmp_path):
    with pytest.raises(ExportRefused, match=reason):
        export(network, tmp_path / "other.onnx")


def test_network_without_encoder_has_no_features(tmp_path):
    """Batch normalisation in evaluation mode, as of nnUNetTrainerBN, is allowed."""
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.LeakyReLU())
    assert export(network, tmp_path / "conv.onnx").features == ()


class Disagreeing(nn.Module):
    """A network whose parts do not add up to the whole: the graph is not what the predictor runs."""

    def __init__(self, network):
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder

    def forward(self, x):
        return self.decoder(self.encoder(x)) + 0.01


def test_other_values_are_found(network, tmp_path):
    with pytest.raises(GraphError, match=r"logits differs from PyTorch by .* of its range"):
        export(Disagreeing(network), tmp_path / "wrong.onnx")
