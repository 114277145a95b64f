"""What needs no cluster: the command without Ray, the examples of the docstrings, the variables."""

from __future__ import annotations

import doctest
import os
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.http import server
from nnunet_losses.serve.http.server import Unservable
from nnunet_losses.serve.ray import accepted, environment, settings

if TYPE_CHECKING:
    from types import ModuleType


def test_without_ray_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(Unservable, match=r'pip install "ray\[serve\]>'):
        server._serve_on_ray(server.Settings(bundles=["a"]), [])


@pytest.mark.parametrize("module", [accepted, settings])
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
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in os.environ) is on_loopback
