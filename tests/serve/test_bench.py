"""Benchmarks: turns, medians, memory of whole process families, honest failures, table and chart."""

from __future__ import annotations

import json
import sys
from time import sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve import bench_report
from nnunet_losses.serve.bench import run_bench, stock_contender
from nnunet_losses.serve.bench_process import SAMPLING_SECONDS, measure
from nnunet_losses.serve.bench_records import Contender, Run, summarize
from nnunet_losses.serve.bench_report import ChartImpossible, draw_chart, print_report, seconds_by_part
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case

from .formats.files import noise, write
from .models import description, member

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.bench_records import Report
    from nnunet_losses.serve.bundle import Bundle

# copies each image to a mask of its bright voxels; as "own" it also writes an answer
SCRIPT = """
import json, pathlib, sys
import SimpleITK as sitk
source, target, threshold, answers = sys.argv[1:]
for file in sorted(pathlib.Path(source).glob("*.nii.gz")):
    case = file.name[: -len("_0000.nii.gz")]
    sitk.WriteImage(sitk.ReadImage(str(file)) > float(threshold), f"{target}/{case}.nii.gz")
    if answers == "own":
        timings = {"read": 0.25, "network": 1.0}
        manifest = {"timings": timings, "tiles": 3, "forward_passes": 24, "provider": "p", "precision": "f"}
        pathlib.Path(target, case + ".json").write_text(json.dumps({"manifest": manifest}))
"""


def fake_bundle(**changes: Any) -> Any:
    return SimpleNamespace(description=description(**changes), sha256="b" * 64)


def contender(name: str, threshold: float = 50, answers: str = "own") -> Contender:
    return Contender(name, (sys.executable, "-c", SCRIPT, "{input}", "{output}", str(threshold), answers))


def cases(folder: Path, count: int = 2, ending: str = ".nii.gz") -> list[Case]:
    return [
        Case(f"c{n}", (write(folder / f"x{n}{ending}", noise((8, 9, 10), seed=n)),)) for n in range(count)
    ]


def bench(folder: Path, *contenders: Contender, repeats: int = 2, has_reference: bool = True) -> Report:
    return run_bench(
        fake_bundle(), cases(folder), contenders, repeats=repeats, cores=1, has_reference=has_reference
    )


def test_contenders_take_turns_and_are_compared(tmp_path: Path) -> None:
    report = bench(tmp_path, contender("ours"), contender("other", 60), contender("stock", answers="none"))
    assert [run.contender for run in report.runs] == ["ours", "other", "stock"] * 2
    ours, other, stock = report.summaries
    assert (ours.runs, ours.tiles, ours.forward_passes) == (2, 6, 48)
    assert ours.stages == {"read": 0.5, "network": 2.0}
    assert ours.seconds_per_forward_pass == pytest.approx(2 / 48)
    assert (ours.differing_voxels, stock.differing_voxels) == (0, 0)
    assert other.differing_voxels is not None
    assert 0 < other.differing_voxels < report.voxels == 2 * 8 * 9 * 10
    assert stock.times_faster == 1
    assert stock.stages == {}
    assert ours.fastest is not None
    assert ours.fastest <= ours.seconds <= ours.slowest  # type: ignore[operator]
    json.dumps(report.as_json())


def test_a_failure_is_told_and_not_timed_again(tmp_path: Path) -> None:
    broken = Contender("broken", (sys.executable, "-c", "import sys; sys.exit('no engine')"))
    report = bench(tmp_path, broken, contender("stock", answers="none"))
    failed, stock = report.summaries
    assert (failed.runs, failed.seconds, failed.times_faster) == (0, None, None)
    assert failed.failure == "exit status 1: no engine"
    assert [run.contender for run in report.runs] == ["broken", "stock", "stock"]
    assert stock.failure is None


def test_all_contenders_have_the_same_cores_and_the_process_gets_its_own_back(tmp_path: Path) -> None:
    import os

    allowed = os.sched_getaffinity(0)
    script = "import os, sys; sys.exit(str(len(os.sched_getaffinity(0))))"
    (summary,) = bench(
        tmp_path, Contender("a", (sys.executable, "-c", script)), has_reference=False
    ).summaries
    assert summary.failure == "exit status 1: 1"
    assert os.sched_getaffinity(0) == allowed


# holds memory until it was seen
HOLDER = """
import sys, time
from pathlib import Path
held = bytearray(int(sys.argv[1]))
ready, seen = (Path(sys.argv[2], name) for name in ("ready", "seen"))
ready.touch()
while not seen.exists():
    time.sleep(0.01)
"""


@pytest.fixture
def looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder through which ``HOLDER`` is let go between two samples, once it was sampled."""
    samples = iter(range(2))

    def between_samples(seconds: float) -> None:
        if (tmp_path / "ready").exists() and next(samples, None) == 1:
            (tmp_path / "seen").touch()
        sleep(seconds)

    monkeypatch.setattr("nnunet_losses.serve.bench_process.sleep", between_samples)
    return tmp_path


def test_memory_of_a_process(looked_at: Path) -> None:
    alone = measure([sys.executable, "-c", HOLDER, "0", str(looked_at)])
    assert alone.peak_bytes is not None
    assert 1_000_000 < alone.peak_bytes < 60_000_000
    assert alone.seconds > SAMPLING_SECONDS
    assert alone.code == 0


def test_memory_of_children_counts(looked_at: Path) -> None:
    child = ["-c", HOLDER, "120_000_000", str(looked_at)]
    parent = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, *{child!r}]).returncode)"
    family = measure([sys.executable, "-c", parent])
    assert family.peak_bytes is not None
    assert 120_000_000 < family.peak_bytes < 250_000_000
    assert family.code == 0


def test_nothing_runs_on_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import subprocess

    started: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        started.append(original(*arguments, **options))
        return started[-1]

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr("nnunet_losses.serve.bench_process.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure([sys.executable, "-c", "import time; time.sleep(60)"])
    assert started[0].returncode is not None
    assert not os.path.exists(f"/proc/{started[0].pid}")  # noqa: PTH110


def test_medians() -> None:
    runs = [Run("a", seconds, seconds * 10, 1.0, {"network": seconds}) for seconds in (1.0, 5.0, 3.0)]  # type: ignore[arg-type]
    (summary,) = summarize(runs, [Contender("a", ())], [None], None)
    assert (summary.seconds, summary.fastest, summary.slowest, summary.peak_bytes) == (3.0, 1.0, 5.0, 30.0)
    assert seconds_by_part(summary) == {"network": 3.0, bench_report.REST: 0.0}


def test_table_and_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench(tmp_path, contender("ours"), contender("stock", answers="none"), repeats=1)
    print_report(report)
    text = capsys.readouterr().out
    for word in ("whole", "network", "peak memory", "times faster", "differing voxels", "load", "cores"):
        assert word in text
    draw_chart(report, tmp_path / "chart.svg")
    drawing = (tmp_path / "chart.svg").read_text()
    assert drawing.startswith("<?xml")
    with pytest.raises(ValueError, match="xyz"):
        draw_chart(report, tmp_path / "chart.xyz")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, volume_bundle: Bundle, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ChartImpossible, match=r'pip install "matplotlib>'):
        bench_report.require_chart()
    arguments = ["bench", str(volume_bundle.root), str(tmp_path), "--chart", str(tmp_path / "c.svg")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "matplotlib" in result.stderr


def test_other_file_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"does not end in \.nii\.gz") as refused:
        run_bench(
            fake_bundle(),
            cases(tmp_path, 1, ".mha"),
            [contender("a")],
            repeats=1,
            cores=1,
            has_reference=False,
        )
    assert refused.value.code is Code.INPUT_UNSUPPORTED_FORMAT


@pytest.mark.parametrize("wrong", [{"repeats": 0, "cores": 1}, {"repeats": 1, "cores": 0}])
def test_wrong_numbers(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        run_bench(fake_bundle(), cases(tmp_path), [contender("a")], has_reference=False, **wrong)


def test_what_the_stock_predictor_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = member([*description().members[0].preprocessing.channels], (1.0, 1.0, 1.0), (16, 16, 16))
    two = fake_bundle(members=(one, one.model_copy(update={"name": "other"})))
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/bin/{name}")
    with pytest.raises(Refusal, match="holds 2 configurations"):
        stock_contender(tmp_path, two)
    command = stock_contender(tmp_path, fake_bundle()).command
    assert command[-8:] == ("-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(Refusal, match="not installed"):
        stock_contender(tmp_path, fake_bundle())


def test_the_command(volume_bundle: Bundle, tmp_path: Path) -> None:
    write(tmp_path / "a_0000.nii.gz", noise((20, 24, 22)), spacing=(1.0, 1.0, 1.0))
    arguments = [
        "bench",
        volume_bundle.root,
        tmp_path,
        "--repeat",
        1,
        "--threads",
        1,
        "--backend",
        "cpu",
        "--json",
    ]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    (summary,) = json.loads(result.stdout)["summaries"]
    assert summary["engine"] == "CPUExecutionProvider, float32"
    assert {"read", "preprocess", "network", "stitch", "labels", "write"} <= summary["stages"].keys()
    assert summary["peak_bytes"] > 0
    assert summary["forward_passes"] == 8 * summary["tiles"]


def test_wrong_command_lines(volume_bundle: Bundle, tmp_path: Path) -> None:
    image = write(tmp_path / "a.nii.gz", np.ones((5, 5, 5)))
    for arguments, code in (
        ([image, "--device", "tpu"], 2),
        ([image, "--repeat", "0"], 2),
        ([image, "--chart", tmp_path / "times.bar"], 2),
        ([image, "--against", tmp_path / "absent"], 2),
        ([tmp_path / "notes.txt"], 2),
    ):
        result = CliRunner().invoke(app, ["bench", str(volume_bundle.root), *map(str, arguments)])
        assert result.exit_code == code, result.output
