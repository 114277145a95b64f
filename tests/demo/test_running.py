from __future__ import annotations

import json
import subprocess
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from nnunet_losses.phantom import Phantom, write_dataset
from nnunet_losses.serve.http.multipart import MultipartReply, Part
from tools.demo import story
from tools.demo.__main__ import MARKER, claim
from tools.demo.process import Runner, StepFailed, executable
from tools.demo.service import read_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 300.0  # seconds for what a busy machine does late


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path, {"OWN": "value"})


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_what_a_command_prints_is_kept(runner: Runner) -> None:
    runner.run(*python("import os; print(os.environ['OWN'])"), log="a step", limit=PATIENCE)
    assert runner.log_file("a step").read_text() == "value\n"
    assert len(runner.commands) == 1


def test_a_failure_shows_the_end_of_the_log(runner: Runner) -> None:
    with pytest.raises(StepFailed, match=r"ended with status 3\.\nthe reason"):
        runner.run(*python("print('the reason'); raise SystemExit(3)"), log="step", limit=PATIENCE)
    assert runner.run(*python("raise SystemExit(3)"), log="step", limit=PATIENCE, allowed=(0, 3)) == 3


def test_a_command_that_takes_too_long_ends_with_its_children(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit passes once the child runs, however long the interpreters take to start."""
    sleeper = "[sys.executable, '-c', 'import time; time.sleep(3600)']"
    child = f"import subprocess, sys; p = subprocess.Popen({sleeper})"
    wait = subprocess.Popen.wait

    def wait_once_the_child_runs(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        assert _comes(lambda: runner.log_file("step").read_text().endswith("\n"))
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_once_the_child_runs)
    with pytest.raises(StepFailed, match="longer than 1 s"):
        runner.run(*python(f"{child}; print(p.pid, flush=True); p.wait()"), log="step", limit=1)
    process = int(runner.log_file("step").read_text())
    assert _comes(lambda: _is_gone(process))


def _comes(condition: Callable[[], Any]) -> bool:
    """Whether a condition holds before our patience ends."""
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.02)
    return True


def _is_gone(process: int) -> bool:
    """Whether a process has ended; its parent is gone, so that nobody may have collected it yet."""
    try:
        with open(f"/proc/{process}/stat") as stream:  # noqa: PTH123 - no file, but the kernel
            return stream.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_missing_command_is_named() -> None:
    with pytest.raises(StepFailed, match="nnUNetv3_train is not installed"):
        executable("nnUNetv3_train")


def test_the_output_folder_is_emptied_only_if_it_is_ours(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    claim(ours)
    (ours / "old").write_text("from an earlier run")
    claim(ours)
    assert sorted(path.name for path in ours.iterdir()) == [MARKER, "logs"]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(FileExistsError, match="somebody else"):
        claim(theirs)
    assert (theirs / "thesis.txt").read_text() == "irreplaceable"
    with pytest.raises(FileExistsError, match="is a file"):
        claim(theirs / "thesis.txt")


def test_the_reply_of_the_service_is_read_byte_for_byte() -> None:
    content = bytes(range(256)) + b"\r\n--\r\n\n"
    parts = (
        Part("answer", "answer.json", "application/json", b'{"outcome": "empty"}'),
        Part("mask", "mask.png", "image/png", content),
    )
    sent = MultipartReply(*parts)
    reply = read_reply(httpx.Response(200, content=sent.body, headers=dict(sent.headers)), 0.5)
    assert (reply.status, reply.answer, reply.mask) == (200, {"outcome": "empty"}, content)


def test_a_problem_is_read_with_the_answer_inside() -> None:
    content = json.dumps({"code": "contract.blank", "answer": {"outcome": "rejected"}})
    headers = {"content-type": "application/problem+json"}
    reply = read_reply(httpx.Response(422, content=content, headers=headers), 0.5)
    assert (reply.answer, reply.mask) == ({"outcome": "rejected"}, None)
    assert (reply.problem or {})["code"] == "contract.blank"


@pytest.mark.parametrize("dimension", [2, 3])
def test_cases_and_bad_files_are_made_from_the_data_set(tmp_path: Path, dimension: int) -> None:
    settings = Phantom(size=(12, 24, 24)[-dimension:], spacing=(1.0,) * dimension)
    raw = write_dataset(tmp_path, settings=settings, cases=1, test_cases=6, lesion_free=0.3)
    cases = list(story.choose_cases(raw / "cases.csv").values())
    masks = [story.read_array(raw / "labelsTs" / f"{name}{settings.ending}") for name in cases]
    assert [bool((mask == 2).any()) for mask in masks] == [True, False, False]
    good = raw / "imagesTs" / f"{cases[0]}_0000{settings.ending}"
    files = dict(story.make_bad_files(good, tmp_path / "bad", settings.ending))
    assert good.read_bytes().startswith(files["a truncated file"].read_bytes())
    blank = story.read_array(files["a blank image"])
    assert blank.shape == masks[0].shape
    assert not np.any(blank)
