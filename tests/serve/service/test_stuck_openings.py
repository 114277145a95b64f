"""Workers that never get a model open: native code without an end, at the start and over a reload."""

from __future__ import annotations

import hashlib
import os
import signal
from typing import TYPE_CHECKING

from nnunet_losses.serve.workers.opening import START_SECONDS, OpeningWatch
from nnunet_losses.serve.workers.reports import ModelReport, ModelState, merged, unopened

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, Client, check_ledger, in_thread, settings_for
from .test_stuck_workers import is_alive

if TYPE_CHECKING:
    from pathlib import Path

LOADING, TESTING, READY, FAILED = ModelState
LIMIT = 4.0  # seconds; enough to open what needs no time on a machine with other things to do


class Watched:
    """A watch over two models, with a clock and a count of its ends."""

    def __init__(self) -> None:
        self.now, self.ends = 0.0, 0
        self.watch = OpeningWatch(["a", "b"], seconds=10, end=self._end, monotonic=lambda: self.now)
        self.watch.began()
        self.watch.heard(reports(LOADING, LOADING), claims=False)

    def _end(self) -> None:
        self.ends += 1

    def after(self, seconds: float) -> int:
        self.now += seconds
        self.watch.look()
        return self.ends

    def hear(self, *states: ModelState, claims: bool = False) -> None:
        self.watch.heard(reports(*states), claims=claims)

    def told(self, *states: ModelState) -> list[str | None]:
        found = self.watch.told(reports(*states))
        return [None if report.failure is None else report.failure.code for report in found]


def reports(*states: ModelState) -> tuple[ModelReport, ...]:
    return tuple(
        report.model_copy(update={"state": state})
        for report, state in zip(unopened(["a", "b"]), states, strict=False)
    )


def test_each_model_has_the_whole_time_and_testing_belongs_to_it() -> None:
    watched = Watched()
    assert watched.after(9.9) == 0
    watched.hear(READY, LOADING)
    assert watched.after(9.9) == 0
    watched.hear(READY, TESTING)
    assert watched.after(0.2) == 1
    assert watched.told(READY, TESTING) == [None, "bundle.timeout"]
    assert watched.after(100) == 1, "once for each worker"


def test_a_worker_that_says_nothing_is_ended_too() -> None:
    watched = Watched()
    watched.watch.began()
    assert watched.after(START_SECONDS + 9.9) == 0
    assert watched.after(0.2) == 1
    assert watched.told() == ["bundle.timeout", None]


def test_who_does_jobs_has_no_limit() -> None:
    watched = Watched()
    watched.hear(READY, FAILED, claims=True)
    assert watched.after(1e6) == 0


def test_who_only_has_to_end_has_as_long() -> None:
    watched = Watched()
    watched.hear(READY, READY, claims=True)
    watched.after(100)
    watched.hear(READY, READY)
    assert watched.after(9.9) == 0
    assert watched.after(0.2) == 1
    assert watched.told(READY, READY) == [None, None]


def test_it_is_said_until_the_model_is_settled() -> None:
    watched = Watched()
    watched.after(10)
    watched.watch.ended()
    assert watched.told() == ["bundle.timeout", None]
    watched.watch.began()
    watched.after(START_SECONDS - 1)
    watched.hear(LOADING, LOADING)
    assert watched.after(9.9) == 1, "its time began with its first word"
    assert watched.told(LOADING, LOADING) == ["bundle.timeout", None]
    watched.hear(READY, LOADING)
    assert watched.told(READY, LOADING) == [None, None]
    assert watched.after(9.9) == 1


def test_of_two_that_open_the_one_that_failed_is_told_of() -> None:
    watched = Watched()
    watched.after(10)
    both = (reports(LOADING, LOADING), watched.watch.told(()))
    assert [report.failure is None for report in merged(both)] == [False, True]
    assert merged((*both, reports(READY, READY))) == reports(READY, READY)


def test_a_worker_stuck_over_a_model_is_ended_until_one_gets_it_open(tmp_path: Path) -> None:
    """One job waits meanwhile; it was the dead worker's before, and is done in the end."""
    settings = settings_for(tmp_path, model_timeout=LIMIT)
    signs = tmp_path / "signs"
    (signs / "go").touch()
    (tmp_path / "brain.bundle").write_text("slow")
    with in_thread(settings, signs) as (client, supervisor):
        (signs / "go").unlink()
        before = supervisor.restarts()
        job = client.submit("killed", hang=1)
        os.kill(client.hanging("killed"), signal.SIGKILL)
        wait_for(lambda: failure(client) == "bundle.timeout", seconds=PATIENCE)
        (model,) = client.http.get("/v1/models").json()["models"]
        assert model["state"] == "loading"
        refused = client.post()
        assert problem(refused, 503, "model.not_ready")["reason"]["code"] == "bundle.timeout"
        assert int(refused.headers["Retry-After"]) > 0
        wait_for(lambda: supervisor.restarts() >= before + 2, seconds=PATIENCE)
        assert client.job(job)["state"] == "queued"
        (signs / "go").touch()
        client.wait_until_ready()
        assert failure(client) is None
        ended = client.ended(job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
        check_ledger(client)


def failure(client: Client) -> str | None:
    """Code of the first model's failure, as the probe says it."""
    found = client.http.get("/v2/health/ready").json()["models"][0]["failure"]
    return None if found is None else str(found["code"])


def test_a_reload_that_hangs_ends_its_worker_and_no_job(tmp_path: Path) -> None:
    for name, text in (("old", "good"), ("new", "one stuck")):
        (tmp_path / name).write_text(text)
    link = tmp_path / "brain.bundle"
    link.symlink_to(tmp_path / "old")
    settings = settings_for(
        tmp_path,
        bundles=[link],
        devices="cpu,cpu",
        allow_reload=True,
        model_timeout=LIMIT,
        shutdown_timeout=2,
    )
    signs = tmp_path / "signs"
    with in_thread(settings, signs) as (client, supervisor):
        wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
        before = supervisor.restarts()
        link.unlink()
        link.symlink_to(tmp_path / "new")
        jobs = [client.submit(f"job{index}", tiles=20, seconds=0.05) for index in range(6)]
        refused = problem(client.http.post("/v1/models/brain/reload"), 409, "model.reload_failed")
        assert refused["reason"]["code"] == "bundle.timeout"
        stuck = client.hanging("stuck")
        wait_for(lambda: not is_alive(stuck), seconds=PATIENCE)
        assert [client.ended(job)["state"] for job in jobs] == ["succeeded"] * 6
        wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
        assert supervisor.restarts() > before
        hashes = {child.models[0].sha256 for child in supervisor._children}
        assert hashes == {hashlib.sha256(b"good").hexdigest()}
        # nothing hangs any more; a busy machine may need more than one attempt
        wait_for(lambda: client.http.post("/v1/models/brain/reload").status_code == 200, seconds=PATIENCE)
        check_ledger(client)
