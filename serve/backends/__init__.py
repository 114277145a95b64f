"""Engines that run the tile network, behind one small protocol."""

from .network import CallableNetwork, TileNetwork, TileOutput
from .opening import Backend, open_network

__all__ = ["Backend", "CallableNetwork", "TileNetwork", "TileOutput", "open_network"]
