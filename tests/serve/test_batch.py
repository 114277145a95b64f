"""Many cases: overlapping answers are the sequential ones, memory is bounded, Ctrl-C leaves whole files."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.batch import Batch, Stopped
from nnunet_losses.serve.console import run_with_progress
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case, Incomplete, Limits
from nnunet_losses.serve.memory_gate import MemoryGate
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.policies import OodPolicy, Policies
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.safety.contract import memory_needed

from .formats.files import cut, noise, write
from .models import description

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.image import Image

SHAPE = (20, 24, 22)
SOON = 300  # seconds that a thread waits for another before the test fails
PLENTY = Limits(memory_bytes=2**40)  # whatever the machine has


class Staged:
    """An engine in three parts, with a hook before each; marks bright voxels."""

    provider = "fake"
    precision = "float32"

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.lock = threading.Lock()
        self.hooks: dict[str, Any] = {}
        self.threads: dict[str, set[str]] = {}

    def _note(self, part: str, change: int) -> None:
        with self.lock:
            self.inside += change
            self.most = max(self.most, self.inside)
            self.threads.setdefault(part, set()).add(threading.current_thread().name)
        self.hooks.get(part, lambda: None)()

    def prepare(self, image: Image) -> Any:
        self._note("prepare", 1)
        return image.data[0]

    def vote(self, image: Image, *, progress: Any = None, prepared: Any = None) -> Any:
        self._note("vote", 0)
        if progress is not None:
            progress(1, 1)
        return prepared > 60

    def conclude(self, found: Any) -> Segmentation:
        self._note("conclude", -1)
        return Segmentation(found.astype(np.uint8), {"network": 0.5}, 1, 8, {})

    def segment(self, image: Image, *, progress: Any = None) -> Segmentation:
        raise NotImplementedError


def batch(folder: Path, engine: Staged | None = None, limits: Limits | None = None, **options: Any) -> Batch:
    bundle: Any = SimpleNamespace(description=description(), sha256="b" * 64, calibration=None)
    predictor = Predictor(bundle, engine=engine or Staged(), limits=limits or Limits())
    return Batch(predictor, folder, **options)


def cases(folder: Path, count: int = 4) -> list[Case | Incomplete]:
    folder.mkdir(exist_ok=True)
    return [
        Case(f"c{n}", (write(folder / f"c{n}_0000.nii.gz", noise(SHAPE, seed=n), spacing=(1.0, 1.0, 1.0)),))
        for n in range(count)
    ]


def troubled(folder: Path) -> list[Case | Incomplete]:
    """Good cases, and one of every kind of trouble in between."""
    found = cases(folder, 6)
    cut(folder / "c1_0000.nii.gz", 0.5)
    write(folder / "c3_0000.nii.gz", np.zeros(SHAPE), spacing=(1.0, 1.0, 1.0))
    lacking = Incomplete("c4", Refusal(Code.CONTRACT_CHANNEL_COUNT, "One lacks.", remedy="Add it."))
    foreign = Incomplete("notes.txt", Refusal(Code.INPUT_UNSUPPORTED_FORMAT, "No image.", remedy="None."))
    return [*found[:4], lacking, foreign, found[5]]


def contents(folder: Path) -> dict[str, Any]:
    """Files; of answers everything but the times."""
    result: dict[str, Any] = {}
    for file in sorted(folder.iterdir()):
        result[file.name] = file.read_bytes()
        if file.suffix == ".json":
            result[file.name] = json.loads(file.read_text())
            result[file.name].get("manifest", {}).pop("timings", None)
    return result


def test_overlapping_answers_are_the_sequential_ones(tmp_path: Path) -> None:
    todo = troubled(tmp_path / "in")
    runs = [
        [result.as_json() | {"answer": None, "mask": None} for result in run.run(todo)]
        for run in (batch(tmp_path / "a", overlap=False), batch(tmp_path / "b"))
    ]
    assert runs[0] == runs[1]
    assert [one["outcome"] for one in runs[1]] == [
        "segmented", None, "segmented", "rejected", "rejected", None, "segmented",
    ]  # fmt: skip
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_real_networks_give_the_same_bytes(volume_bundle: Any, tmp_path: Path) -> None:
    predictor = Predictor(volume_bundle, backend="cpu", threads=1)
    todo = cases(tmp_path / "in", 3)
    for name, overlap in (("a", False), ("b", True)):
        results = list(Batch(predictor, tmp_path / name, overlap=overlap).run(todo))
        assert [result.exit_code for result in results] == [0, 0, 0]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_three_parts_do_overlap(tmp_path: Path) -> None:
    """Each network pass waits for the next case's preparation, each end for the next case's network."""
    engine = Staged()
    prepared, voted = threading.Semaphore(0), threading.Semaphore(0)
    votes, ends = iter(range(3)), iter((2, 1, 0))  # of votes an end waits for; the first one's own is there

    def vote() -> None:
        voted.release()
        if next(votes) < 2:
            assert prepared.acquire(timeout=SOON), "the next case was not prepared meanwhile"

    def conclude() -> None:
        for _ in range(next(ends)):
            assert voted.acquire(timeout=SOON), "the next case was not at the network meanwhile"

    def prepare() -> None:
        if engine.inside > 1:
            prepared.release()

    engine.hooks = {"vote": vote, "conclude": conclude, "prepare": prepare}
    results = list(batch(tmp_path / "out", engine, PLENTY).run(cases(tmp_path / "in", 3)))
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert engine.threads["vote"] == {"MainThread"}
    assert len({*engine.threads["prepare"], *engine.threads["conclude"], "MainThread"}) == 3


def test_no_more_than_three_cases_are_in_memory(tmp_path: Path) -> None:
    engine = Staged()
    list(batch(tmp_path / "out", engine).run(cases(tmp_path / "in", 8)))
    assert engine.most <= 3
    assert engine.inside == 0


def test_where_memory_is_scarce_cases_wait_and_none_is_refused(tmp_path: Path) -> None:
    from nnunet_losses.serve.formats import read_image

    todo = cases(tmp_path / "in", 5)
    image = read_image(todo[0].files, reader=description().reader)  # type: ignore[union-attr]
    one = memory_needed(image, description())
    for limit, most in ((int(1.5 * one), 1), (int(2.5 * one), 2)):
        engine = Staged()
        results = list(batch(tmp_path / "out", engine, Limits(memory_bytes=limit)).run(todo))
        assert [result.exit_code for result in results] == [0] * 5
        assert engine.most <= most
    results = list(batch(tmp_path / "out", Staged(), Limits(memory_bytes=one - 1)).run(todo))
    assert [result.exit_code for result in results] == [3] * 5


def test_ctrl_c_leaves_whole_files_and_no_thread(tmp_path: Path) -> None:
    engine = Staged()
    votes = iter(range(9))

    def vote() -> None:
        if next(votes) == 2:
            raise KeyboardInterrupt

    engine.hooks["vote"] = vote
    before = set(threading.enumerate())
    with pytest.raises(Stopped) as stopped:
        run_with_progress(batch(tmp_path / "out", engine), cases(tmp_path / "in", 6))
    assert [result.case for result in stopped.value.results] == ["c0"]
    assert set(threading.enumerate()) <= before
    assert set(contents(tmp_path / "out")) == {"c0.json", "c0.nii.gz", "c1.json", "c1.nii.gz"}


def test_whoever_stops_asking_stops_the_work(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with closing(batch(tmp_path / "out").run(cases(tmp_path / "in", 6))) as running:
        assert next(running).case == "c0"
    assert set(threading.enumerate()) <= before
    assert "c4.json" not in contents(tmp_path / "out")


def test_a_folder_that_cannot_be_written_to_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_losses.serve.result_files.write_mask", full)
    with pytest.raises(OSError, match="No space left"):
        list(batch(tmp_path / "out").run(cases(tmp_path / "in", 3)))


def test_an_engine_that_fails_once(tmp_path: Path) -> None:
    engine = Staged()
    votes = iter(range(9))

    def vote() -> None:
        if next(votes) == 1:
            raise Refusal(Code.BACKEND_FAILED, "It failed.", remedy="Try again.")

    engine.hooks["vote"] = vote
    results = list(batch(tmp_path / "out", engine).run(cases(tmp_path / "in", 4)))
    assert [result.exit_code for result in results] == [0, 1, 0, 0]
    assert (tmp_path / "out" / "c1.problem.json").exists()


def test_earlier_answers_are_kept(tmp_path: Path) -> None:
    todo = cases(tmp_path / "in", 3)
    list(batch(tmp_path / "out").run(todo))
    (tmp_path / "out" / "c1.json").unlink()
    engine = Staged()
    results = list(batch(tmp_path / "out", engine, overwrite=False).run(todo))
    assert [result.kept for result in results] == [True, False, True]


def test_only_answers_of_the_same_model_and_wishes_are_kept(tmp_path: Path) -> None:
    todo, out = cases(tmp_path / "in", 1), tmp_path / "out"
    for sha256, ood, kept in (
        ("a" * 64, OodPolicy.FLAG, False),
        ("a" * 64, OodPolicy.FLAG, True),
        ("b" * 64, OodPolicy.FLAG, False),
        ("b" * 64, OodPolicy.REJECT, False),
        ("b" * 64, OodPolicy.REJECT, True),
    ):
        run = batch(out, overwrite=False)
        run.predictor.bundle.sha256 = sha256
        run.predictor.policies = Policies(ood)
        (result,) = run.run(todo)
        assert result.kept is kept


def test_the_gate() -> None:
    entered = threading.Event()

    def second() -> None:
        gate.enter("b", 50)
        entered.set()

    with MemoryGate(lambda: 100) as gate:
        gate.enter("a", 500)  # alone: not the gate's question
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1)
        gate.leave("a")
        assert entered.wait(SOON)
        thread.join()
        gate.leave("never entered")
