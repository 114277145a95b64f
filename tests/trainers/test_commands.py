"""The commands list, env and doctor."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.registry import list_losses
from nnunet_losses.trainers import (
    doctor,
    doctor_engines,
    doctor_environment,
    doctor_training,
    plugin,
    probes,
)
from nnunet_losses.trainers.findings import Finding, State

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

PATIENCE = 1200.0  # seconds for a new interpreter and its imports on a busy machine
MISFIT = "RuntimeError: operator torchvision::nms does not exist"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


# --- list ---


def test_list_names_every_loss_and_trainer() -> None:
    output = run("list").stdout
    assert all(key in output for key in list_losses())
    assert "nnUNetTrainerDiceTopK" in output


@pytest.mark.parametrize(
    ("pattern", "losses"),
    [("topk", ["topk", "dice_topk"]), ("DICETOPK", ["dice_topk"]), ("tv*", ["tversky"])],
)  # fmt: skip
def test_list_filters(pattern: str, losses: list[str]) -> None:
    rows = json.loads(run("list", pattern, "--json").stdout)
    assert [row["loss"] for row in rows] == losses
    assert {"trainer", "parameters", "summary", "reference"} <= rows[0].keys()


def test_list_says_when_nothing_matches() -> None:
    result = run("list", "dyce")
    assert result.exit_code == 1
    assert "No loss matches 'dyce'" in result.stderr


# --- env ---


def test_env_survives_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders with spaces and quotes, kept in front of ours."""
    folder = tmp_path / "it's mine"
    monkeypatch.setenv(plugin.VARIABLE, str(folder))
    line = run("env").stdout
    assert line.count("\n") == 1
    script = f'{line}printf %s "${plugin.VARIABLE}"'
    value = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert value == os.pathsep.join([str(folder), str(plugin.DISCOVERY)])


@pytest.mark.parametrize(
    ("shell", "beginning"),
    [("sh", "export nnUNet_extTrainer="), ("fish", "set -gx nnUNet_extTrainer "),
     ("powershell", "$env:nnUNet_extTrainer = '"), ("cmd", 'set "nnUNet_extTrainer=')],
)  # fmt: skip
def test_env_speaks_other_shells(shell: str, beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(plugin.VARIABLE, raising=False)
    assert run("env", "--shell", shell).stdout.startswith(beginning)


# --- doctor ---


class Answers:
    """Stands for the processes that the doctor asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, dict[str, Any]] = {
            "torch": {"version": "2.13.0+cpu", "gpus": 0},
            "torchvision": {"version": "0.28.0", "operators": True},
            "trainer": {"found": "nnunet_losses.trainers.nnUNetTrainerDiceTopK"},
            "onnxruntime": {"offered": ["CPUExecutionProvider"], "used": ["CPUExecutionProvider"]},
            "openvino": {"version": "2026.4", "devices": ["CPU"]},
        }
        monkeypatch.setattr(probes, "ask", lambda question, *_: self.answers[question])


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    for name in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc", plugin.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor_training, "enabled", list)
    monkeypatch.setattr(doctor_training, "is_installed", lambda _: True)
    return Answers(monkeypatch)


def finding(subject: str) -> Finding:
    (found,) = [item for item in doctor.examine() if item.subject.startswith(subject)]
    return found


@pytest.mark.usefixtures("answers")
def test_healthy_environment_is_not_broken() -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    assert "nnUNetv2_train finds nnUNetTrainerDiceTopK" in result.stdout


def test_misfit_torchvision_is_broken_with_two_remedies(answers: Answers) -> None:
    answers.answers["torchvision"] = answers.answers["trainer"] = {"error": MISFIT}
    found = finding("torchvision")
    assert found.state is State.BROKEN
    release = version("torch").split("+")[0].split(".")[1]
    assert f'"torchvision==0.{int(release) + 15}.*"' in found.remedy
    assert "nnunet-losses doctor --mend" in found.remedy
    assert finding("trainers").state is State.BROKEN
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["broken"] is True


def test_mended_torchvision_is_a_note(answers: Answers) -> None:
    answers.answers["torchvision"] = {"version": "0.28.0", "operators": False}
    assert finding("torchvision").state is State.NOTE


@pytest.mark.usefixtures("answers")
def test_mend_leaves_a_healthy_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "enable", lambda *_: pytest.fail("nothing is to be written"))
    assert doctor.mend().state is State.OK


def test_mend_does_not_pretend(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.answers["torchvision"] = {"error": "ImportError: libjpeg.so.9"}
    assert doctor.mend().state is State.WARNING
    answers.answers["torchvision"] = {"error": MISFIT}

    def refuse(*_: str) -> list[Path]:
        raise plugin.CannotEnableError("read-only")

    monkeypatch.setattr(doctor, "enable", refuse)
    assert doctor.mend() == Finding(
        "torchvision repair", State.BROKEN, "read-only", doctor_training.reinstall_torchvision()
    )


def test_invisible_trainers_are_a_warning_until_they_should_be_visible(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.answers["trainer"] = {"error": "RuntimeError: Could not find requested nnunet trainer X in ..."}
    assert finding("trainers").state is State.WARNING
    assert "nnunet-losses enable" in finding("trainers").remedy
    monkeypatch.setenv(plugin.VARIABLE, str(plugin.DISCOVERY))
    assert finding("trainers").state is State.BROKEN


@pytest.mark.parametrize(
    ("installed", "state"),
    [("2.8.1", "ok"), ("2.8.0.post1", "ok"), ("2.7.0", "broken"), ("2.9", "warning"), ("3.0.0", "warning")],
)
@pytest.mark.usefixtures("answers")
def test_nnunet_version(installed: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor_training, "version", lambda name: installed if name == "nnunetv2" else "2.13.0+cpu"
    )
    assert finding("nnunetv2").state == state


@pytest.mark.usefixtures("answers")
def test_runtime_environment_is_healthy_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (doctor_training, doctor_environment):
        monkeypatch.setattr(
            module, "is_installed", lambda name: name not in ("torch", "torchvision", "nnunetv2")
        )
    findings = list(doctor.examine())
    assert not [item for item in findings if item.state in (State.BROKEN, State.WARNING)]
    absent = [item.subject for item in findings if "needed for training and export only" in item.text]
    assert absent == ["torch", "nnunetv2"]
    assert doctor.mend().state is State.NOTE


@pytest.mark.usefixtures("answers")
def test_folders_and_traps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "absent"))
    monkeypatch.delenv("nnUNet_results", raising=False)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "many")
    states = [finding(name).state for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]
    assert states == [State.OK, State.WARNING, State.WARNING]
    assert "planning and preprocessing fail" in finding("nnUNet_n_proc_DA").text
    assert finding("nnUNet_def_n_proc").state is State.BROKEN


def pretend_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Distributions that own the module onnxruntime, as pip records them; the real ones are hidden."""
    for name in names:
        info = folder / f"{name.replace('-', '_')}-1.30.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.30.0\n")
        (info / "top_level.txt").write_text("onnxruntime\n")
    monkeypatch.setattr("sys.path", [str(folder)])


@pytest.mark.usefixtures("answers")
def test_two_onnxruntime_wheels_are_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_wheels(tmp_path, monkeypatch, "onnxruntime", "onnxruntime-gpu")
    found = next(doctor_engines.examine())
    assert found.state is State.BROKEN
    assert found.text.startswith("onnxruntime 1.30.0 and onnxruntime-gpu 1.30.0 share one module")
    assert found.remedy.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")


@pytest.mark.parametrize(("gpu", "state"), [(True, State.BROKEN), (False, State.WARNING)])
def test_gpu_wheel_that_runs_on_the_cpu_is_reported(
    *, gpu: bool, state: State, answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend_wheels(tmp_path, monkeypatch, "onnxruntime-gpu")
    monkeypatch.setattr(doctor_engines, "has_nvidia_gpu", lambda: gpu)
    answers.answers["onnxruntime"] = {
        "offered": ["CUDAExecutionProvider", "CPUExecutionProvider"], "used": ["CPUExecutionProvider"],
        "log": "CUDAExecutionProvider: libcudnn.so.9 is missing",
    }  # fmt: skip
    found = next(doctor_engines.examine())
    assert found.state is state
    assert "CUDAExecutionProvider asked for, but it cannot be used: " in found.text
    assert "libcudnn.so.9" in found.text


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_without_cupy_is_reported(
    *, gpu: bool, answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend_wheels(tmp_path, monkeypatch, "onnxruntime-gpu")
    monkeypatch.setattr(doctor_engines, "has_nvidia_gpu", lambda: gpu)
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    answers.answers["onnxruntime"] = {"offered": both, "used": both}
    found = [finding for finding in doctor_engines.examine() if finding.subject == "CuPy"]
    assert [finding.state for finding in found] == ([State.WARNING] if gpu else [])


def test_gutted_onnxruntime_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime").mkdir()  # what is left when one of two wheels is uninstalled
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = probes.ask("onnxruntime", timeout=PATIENCE)
    # a folder without __init__ loses against an installed package, and is an empty module where there is none
    assert "CPUExecutionProvider" in answer.get("used", []) or "is empty" in answer["error"]
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    assert "is empty" in probes.ask("onnxruntime", timeout=PATIENCE)["error"]


def test_probes_run_the_real_engines() -> None:
    assert "CPUExecutionProvider" in probes.ask("onnxruntime", timeout=PATIENCE)["used"]
    assert "CPU" in probes.ask("openvino", timeout=PATIENCE)["devices"]


def test_probes_report_crashes_and_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes.sys, "executable", "/bin/false")
    assert "ended with status 1" in probes.ask("torch")["error"]
    (tmp_path / "silent").write_text("#!/bin/sh\nexec sleep 3600\n")
    (tmp_path / "silent").chmod(0o755)
    monkeypatch.setattr(probes.sys, "executable", str(tmp_path / "silent"))
    assert probes.ask("torch", timeout=0.5) == {"error": "no answer within 0.5 s"}
