"""Workers that die between two lines of whoever talks to them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.workers.channel import Channel
from nnunet_losses.serve.workers.child import ChildProcess

from .helpers import settings_for
from .server import steered

if TYPE_CHECKING:
    from pathlib import Path


class Vanishing(ChildProcess):
    """Its channel is there when one looks, and gone when one looks again."""

    def __init__(self, channel: Channel) -> None:
        self._looks = iter([channel])

    @property
    def _channel(self) -> Any:
        return next(self._looks, None)


def test_who_dies_while_it_is_told_something_is_no_error() -> None:
    ours, theirs = map(Channel, socket.socketpair())
    Vanishing(ours).send({"do": "wake"})
    assert next(theirs.messages()) == {"do": "wake"}
    theirs.close()
    Vanishing(ours).send({"do": "wake"})
    ours.close()


def test_half_a_message_is_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b'{"say": "job", "job": "1"}\n{"say": "mod')
    channel = Channel(ours)
    assert list(channel.messages()) == [{"say": "job", "job": "1"}]
    channel.close()


def test_where_nobody_has_the_model_open_it_is_not_reloaded(tmp_path: Path) -> None:
    supervisor = steered(settings_for(tmp_path), tmp_path / "signs")
    with pytest.raises(Refusal, match="just being started") as caught:
        supervisor.reload("brain")
    assert caught.value.code is Code.BACKEND_UNAVAILABLE
