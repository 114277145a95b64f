"""What needs no cluster: the command without Ray, the examples of the docstrings, the variables."""

from __future__ import annotations

import doctest
import os
import socket
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.http import server
from nnunet_losses.serve.http.server import Unservable
from nnunet_losses.serve.ray import accepted, environment, port, settings

if TYPE_CHECKING:
    from types import ModuleType


def test_without_ray_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(Unservable, match=r'pip install "ray\[serve\]>'):
        server._serve_on_ray(server.Settings(bundles=["a"]), [])


@pytest.mark.parametrize("module", [accepted, port, settings])
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert (result.attempted > 0, result.failed) == (True, 0)


@pytest.mark.parametrize(("address", "on_loopback"), [("", True), ("10.0.0.1:6379", False)])
def test_only_a_cluster_of_this_machine_keeps_to_the_loopback_interface(
    address: str, *, on_loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_ADDRESS": address})
    environment.prepare_environment()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in os.environ) is on_loopback


def test_a_chosen_port_is_kept_until_the_proxy_listens_there() -> None:
    host = "127.0.0.1"
    with port.proxy_port(host, 0, alone=True) as kept:
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                stranger.bind((host, kept))
        with socket.socket() as proxy:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as Ray Serve does
                proxy.setsockopt(socket.SOL_SOCKET, option, 1)
            proxy.bind((host, kept))
            proxy.listen()
            for _ in range(8):
                with socket.create_connection((host, kept)):
                    proxy.accept()[0].close()
