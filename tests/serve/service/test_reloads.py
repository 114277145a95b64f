"""Reloading with several workers: all change or none, whatever dies meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, in_thread, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.workers.supervisor import Supervisor


def served(supervisor: Supervisor) -> set[str | None]:
    """Hashes of what the workers that do jobs have open."""
    return {child.models[0].sha256 for child in supervisor._children if child.claims}


def test_a_worker_that_is_just_opening_does_not_keep_the_old_bundle(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, devices="cpu,cpu", allow_reload=True)
    (tmp_path / "brain.bundle").write_text("slow")
    signs = tmp_path / "signs"
    (signs / "go").touch()
    with in_thread(settings, signs) as (client, supervisor):
        wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
        (signs / "go").unlink()
        for sign in signs.glob("slow-*"):
            sign.unlink()
        os.kill(supervisor._children[0].pid or 0, signal.SIGKILL)
        wait_for(lambda: len(list(signs.glob("slow-*"))) == 1, seconds=PATIENCE)  # it has read the old one
        (tmp_path / "brain.bundle").write_text("better")
        refused = problem(client.http.post("/v1/models/brain/reload"), 409, "model.reload_failed")
        assert refused["reason"]["code"] == "backend.unavailable"
        (signs / "go").touch()
        wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
        assert served(supervisor) == {hashlib.sha256(b"slow").hexdigest()}
        assert client.http.post("/v1/models/brain/reload").status_code == 200
        wait_for(lambda: served(supervisor) == {hashlib.sha256(b"better").hexdigest()}, seconds=PATIENCE)


def test_a_worker_that_dies_after_it_prepared_comes_back_with_the_new_bundle(tmp_path: Path) -> None:
    for name in ("old", "new: one slow"):
        (tmp_path / name[:3]).write_text(name)
    link = tmp_path / "brain.bundle"
    link.symlink_to(tmp_path / "old")
    settings = settings_for(tmp_path, bundles=[link], devices="cpu,cpu", allow_reload=True)
    signs = tmp_path / "signs"
    with in_thread(settings, signs) as (client, supervisor), ThreadPoolExecutor(1) as pool:
        wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
        link.unlink()
        link.symlink_to(tmp_path / "new")
        reply = pool.submit(client.http.post, "/v1/models/brain/reload")
        wait_for(lambda: len(list(signs.glob("slow-*"))) == 1, seconds=PATIENCE)
        slow = int(next(signs.glob("slow-*")).name.rpartition("-")[2])
        (prepared,) = (child for child in supervisor._children if child.pid != slow)
        wait_for((signs / f"tested-new:-{prepared.pid}").exists, seconds=PATIENCE)
        wait_for(lambda: not prepared._tickets, seconds=PATIENCE)
        os.kill(prepared.pid or 0, signal.SIGKILL)
        wait_for(lambda: supervisor.restarts() == 1 and supervisor.capacity() == 2, seconds=PATIENCE)
        old, new = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "old", link))
        assert served(supervisor) == {old}  # one of them began anew before the new one was accepted
        (signs / "go").touch()
        assert reply.result(2 * PATIENCE).status_code == 200
        wait_for(lambda: supervisor.capacity() == 2 and served(supervisor) == {new}, seconds=PATIENCE)
        assert client.ended(client.submit())["state"] == "succeeded"
