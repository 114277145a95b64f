"""Engines that run the tile network, behind one small protocol."""
