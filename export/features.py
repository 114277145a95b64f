"""Pooled encoder features beside the logits: what a bundle later recognises unfamiliar images by.

For every encoder stage mean and standard deviation over space, at two places: the last convolution's output,
before anything normalises it, and the stage's own output. Instance normalisation makes the moments behind it
constants, so that one place alone is blind to brightness and contrast, and the other to texture.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENTS = (
    Moment.CONVOLUTION_MEAN,
    Moment.CONVOLUTION_DEVIATION,
    Moment.OUTPUT_MEAN,
    Moment.OUTPUT_DEVIATION,
)
# of a stage; large ones are sampled on a grid, or pooling would take a tenth of the network's time
MOST_VOXELS = 2**15


def sampling_step(shape: tuple[int, ...]) -> int:
    """Every how many voxels along each axis a stage is sampled.

    Example:
        >>> sampling_step((128, 128, 128)), sampling_step((32, 32, 32)), sampling_step((512, 512))
        (4, 1, 3)
    """
    step = 1
    while prod(ceil(size / step) for size in shape) > MOST_VOXELS:
        step += 1
    return step


def moments(stage: Any) -> tuple[Any, Any]:
    """Mean and standard deviation over space, each (B, C), of the sampled voxels of a tensor (B, C, *S)."""
    axes = tuple(range(2, stage.ndim))
    step = sampling_step(tuple(int(size) for size in stage.shape[2:]))
    sampled = stage[(slice(None), slice(None), *(slice(None, None, step) for _ in axes))]
    mean = sampled.mean(dim=axes, keepdim=True)
    difference = sampled - mean
    deviation = (difference * difference).mean(dim=axes).sqrt()
    return mean.flatten(1), deviation


def with_features(network: Any) -> Any:
    """Add the features of every stage where the network is an encoder and a decoder.

    Args:
        network: (B, channels, *patch) -> (B, heads, *patch).

    Returns:
        A module in evaluation mode: tuple of the logits, then (B, 4 channels) for each encoder stage, in the
        order of ``MOMENTS``. Of another network the logits alone.
    """
    encoder = getattr(network, "encoder", None)
    is_unet = getattr(encoder, "return_skips", False) and hasattr(encoder, "stages")
    is_unet = is_unet and hasattr(network, "decoder")
    return _module(network, with_stages=is_unet).eval()


def _module(network: Any, *, with_stages: bool) -> Any:
    import torch  # noqa: PLC0415 - torch is slow to import

    class WithFeatures(torch.nn.Module):
        """Logits, then the features of each stage."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            if not with_stages:
                return (self.network(x),)
            with _last_convolutions(self.network.encoder) as convolutions:
                skips = self.network.encoder(x)
            stages = zip(convolutions, skips, strict=True)
            features = [torch.cat([*moments(before), *moments(after)], dim=1) for before, after in stages]
            return (self.network.decoder(skips), *features)

    return WithFeatures()


@contextmanager
def _last_convolutions(encoder: Any) -> Iterator[list[Any]]:
    """Keep the output of the last convolution of every stage while the encoder runs."""
    from torch.nn.modules.conv import _ConvNd  # noqa: PLC0415 - the common class of all convolutions

    outputs: list[Any] = [None] * len(encoder.stages)

    def keep(stage: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            outputs[stage] = output

        return hook

    handles = [
        module.register_forward_hook(keep(index))
        for index, stage in enumerate(encoder.stages)
        for module in stage.modules()
        if isinstance(module, _ConvNd)
    ]
    yield outputs
    for handle in handles:
        handle.remove()
