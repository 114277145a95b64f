"""The service's contract under Ray Serve, and predictors that are killed in mid-job."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...conftest import require
from ..http.fakes import parse, problem, wait_for
from ..service.helpers import PATIENCE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from ..service.helpers import Client

IMAGE = {"T1": ("image.nii.gz", b"{}")}


def test_a_waiting_call_gets_answer_and_mask(client: Client) -> None:
    response = client.http.post("/v1/segment", files=IMAGE, data={"case": "visit 2"})
    assert response.status_code == 200, response.text
    reply = parse(response)
    assert (reply.answer["case"], reply.answer["outcome"]) == ("visit 2", "segmented")
    assert len(reply.mask) == 64


def test_models_and_health_are_told(client: Client) -> None:
    wait_for(lambda: told(client) == ("brain", "ready", "FakeProvider"), seconds=PATIENCE)
    assert client.http.get("/v2/models/brain/ready").status_code == 200
    assert client.http.get("/openapi.json").json()["info"]["title"] == "nnunet-losses"


def told(client: Client) -> tuple[str, ...]:
    """What is said of the model; nothing is known of it while all predictors are silent."""
    (model,) = client.http.get("/v1/models").json()["models"]
    return model["name"], model["state"], model["provider"]


def test_problems_are_told_as_ever(client: Client) -> None:
    problem(client.http.get("/nowhere"), 404, "request.not_found")
    problem(client.http.get("/v1/jobs/none"), 404, "job.unknown")
    problem(client.http.post("/v1/jobs", files={"CT": IMAGE["T1"]}), 422, "contract.channel_name")
    problem(client.http.post("/v1/jobs", content=b"x", headers={"content-type": "text/plain"}), 415,
            "request.unsupported_media_type")  # fmt: skip


def test_the_same_key_makes_one_job(client: Client) -> None:
    first, second = (client.post(headers={"Idempotency-Key": "once"}).json()["id"] for _ in range(2))
    assert first == second
    assert client.ended(first)["state"] == "succeeded"


def test_events_tell_of_the_end(client: Client) -> None:
    job = client.submit(tiles=4, seconds=0.1)
    with client.http.stream("GET", f"/v1/jobs/{job}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line for line in response.iter_lines() if line.startswith("event: ")]
    assert events[-1] == "event: done"


def test_a_running_job_is_cancelled(client: Client) -> None:
    job = client.submit("cancelled", hang=1)
    client.hanging("cancelled")
    assert client.http.delete(f"/v1/jobs/{job}").status_code == 202
    assert client.ended(job)["state"] == "cancelled"


def test_two_predictors_work_at_once_and_a_full_queue_is_said(client: Client) -> None:
    running = [client.submit(name, hang=1) for name in ("left", "right")]
    assert client.hanging("left") != client.hanging("right")
    waiting = [client.submit() for _ in range(6)]
    refused = client.post()
    problem(refused, 503, "queue.full")
    assert int(refused.headers["retry-after"]) > 0
    for job in running:
        client.http.delete(f"/v1/jobs/{job}")
    assert {client.ended(job)["state"] for job in waiting} == {"succeeded"}


def test_a_predictor_that_is_killed_in_mid_job_loses_nothing(client: Client) -> None:
    jobs = [client.submit("killed", hang=1), *(client.submit(f"other{index}") for index in range(4))]
    os.kill(client.hanging("killed"), signal.SIGKILL)
    ended = [client.ended(job) for job in jobs]
    assert [end["state"] for end in ended] == ["succeeded"] * 5
    assert (ended[0]["attempt"], ended[0]["problem"]) == (2, None)
    artifact = ended[0]["artifacts"][1]
    content = client.http.get(artifact["url"])
    assert content.headers["etag"] == f'"{artifact["sha256"]}"'


def test_predictors_that_are_stopped_or_stuck_are_ended_and_jobs_are_not_lost(
    client: Client, folder: Path
) -> None:
    """One neither beats nor answers, and the other one does its job; then that is stuck in native code."""
    job = client.submit("stopped", hang=1)
    stopped = client.hanging("stopped")
    with writing(folder) as database:  # which the other one could not use if it was stopped while it wrote
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: states(stopped) == {"T"}, seconds=PATIENCE)
        database.execute("UPDATE jobs SET lease_expires = 0 WHERE id = ?", [job])
    ended = client.ended(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    job = client.submit("native", stuck="free")
    stuck = client.hanging("native")
    with writing(folder) as database:
        database.execute("UPDATE jobs SET started = 0 WHERE id = ?", [job])
    assert client.ended(job)["problem"]["code"] == "job.timeout"
    wait_for(lambda: not is_alive(stopped) and not is_alive(stuck), seconds=PATIENCE)
    assert client.ended(client.submit())["state"] == "succeeded"


@contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Write to the jobs' database, while nobody else does."""
    path = folder / "data" / "jobs.sqlite"
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.execute("COMMIT")


def states(pid: int) -> set[str]:
    """What the kernel says of a process's threads; T: stopped."""
    return {state_in(file) for file in inside(Path(f"/proc/{pid}/task"), "stat")} - {""}


def state_in(path: Path) -> str:
    """One letter; none if there is no such process or thread any more."""
    try:
        return path.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    return state_in(Path(f"/proc/{pid}/stat")) not in {"", "Z", "X"}


def restarts(client: Client) -> int:
    """How often predictors were started again, as the ingress counts."""
    lines = client.http.get("/metrics").text.splitlines()
    (count,) = (line for line in lines if line.startswith("nnunet_losses_worker_restarts_total "))
    return int(float(count.split()[1]))


def reload(client: Client) -> dict[str, Any]:
    """Refused with another reason as long as a predictor is just being started."""
    return problem(client.http.post("/v1/models/brain/reload"), 409, "model.reload_failed")


def test_a_bad_bundle_is_not_reloaded_and_a_good_one_outlives_a_predictor(
    client: Client, folder: Path
) -> None:
    # all predictors are back from the tests before: one that is being started would open what lies there then
    wait_for(lambda: client.http.post("/v1/models/brain/reload").status_code == 200, seconds=PATIENCE)
    before = client.http.get("/v1/models/brain").json()["sha256"]
    (folder / "brain.bundle").write_text("wrong")
    wait_for(lambda: reload(client)["reason"]["code"] == "bundle.self_test_failed", seconds=PATIENCE)
    assert client.http.get("/v1/models/brain").json()["sha256"] == before
    (folder / "better").write_text("better")
    (folder / "brain.bundle").unlink()
    (folder / "brain.bundle").symlink_to(folder / "better")
    assert client.http.post("/v1/models/brain/reload").status_code == 200
    assert client.http.get("/v1/models/brain").json()["sha256"] != before
    restarts_before = restarts(client)
    (folder / "brain.bundle").unlink()
    (folder / "brain.bundle").write_text("corrupt")  # a deployment that nobody accepted
    job = client.submit("after", hang=1)
    os.kill(client.hanging("after"), signal.SIGKILL)
    manifest = client.http.get(client.ended(job)["links"]["manifest"]).json()
    assert manifest["answer"]["bundle_sha256"] != before
    wait_for(lambda: restarts(client) == restarts_before + 1, seconds=PATIENCE)
    client.wait_until_ready()


def test_ray_listens_on_the_loopback_interface_only(
    client: Client, cluster: tuple[Client, subprocess.Popen[str]]
) -> None:
    require(Path("/proc/net/tcp").exists(), "there is no /proc to look into")
    own = sockets(family(cluster[1].pid))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    listening = {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in own}
    assert listening
    assert listening <= {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: list[int] = []
    for file in inside(Path(f"/proc/{pid}/task"), "children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread ended
            children += map(int, file.read_text().split())
    return [pid, *(one for child in children for one in family(child))]


def inside(folder: Path, *names: str) -> list[Path]:
    """Files below each entry of a folder of a process, which may end meanwhile."""
    try:
        return [path.joinpath(*names) for path in folder.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def sockets(pids: list[int]) -> set[str]:
    """Inodes of the sockets of some processes."""
    links = []
    for file in (file for pid in pids for file in inside(Path(f"/proc/{pid}/fd"))):
        with suppress(FileNotFoundError, ProcessLookupError):  # it was closed since it was listed
            links.append(str(file.readlink()))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def test_sigterm_ends_everything_and_no_job_is_lost(
    client: Client, cluster: tuple[Client, subprocess.Popen[str]], folder: Path
) -> None:
    """The last test of the module: a job that hangs is given back, and waits in the queue."""
    job = client.submit("drained", hang=1)
    client.hanging("drained")
    process = cluster[1]
    members = family(process.pid)
    process.terminate()
    wait_for(lambda: client.http.get("/v2/health/ready").status_code == 503, seconds=PATIENCE)
    for _ in range(5):
        refused = client.post("late")
        problem(refused, 503, "service.stopping")
        assert int(refused.headers["retry-after"]) > 0
    assert client.job(job)["state"] == "running"
    (folder / "signs" / "drain").touch()
    assert process.wait(PATIENCE) == 0
    wait_for(lambda: not any(is_alive(pid) for pid in members), seconds=PATIENCE)
    with closing(sqlite3.connect(folder / "data" / "jobs.sqlite")) as database:
        totals = dict(database.execute("SELECT name, value FROM job_totals").fetchall())
        waiting = database.execute("SELECT id, state FROM jobs WHERE finished IS NULL").fetchall()
    assert waiting == [(job, "queued")]
    assert totals["accepted"] == totals["succeeded"] + totals["failed"] + totals["cancelled"] + 1
