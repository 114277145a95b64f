"""Engines that run the tile network, behind one small protocol."""

from .choosing import NetworkOpener
from .network import CallableNetwork, TileNetwork, TileOutput, stream
from .opening import Backend, PrecisionChoice, open_network

__all__ = [
    "Backend",
    "CallableNetwork",
    "NetworkOpener",
    "PrecisionChoice",
    "TileNetwork",
    "TileOutput",
    "open_network",
    "stream",
]
