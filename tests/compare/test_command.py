"""What the command says where nothing comes out, and how it ends."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from nnunet_losses.compare import commands
from nnunet_losses.compare.results import write_failure
from nnunet_losses.compare.run import _device, _told
from nnunet_losses.compare.study import Settings, Study, StudyError
from nnunet_losses.compare.training import _is_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_where_no_cell_has_a_result_each_reason_is_told(tmp_path: Path) -> None:
    settings = Settings(dataset="Dataset001_A", configuration="2d")
    study = Study(settings=settings, losses=("ce", "dice"), folds=(0,), seeds=(0,))
    write_failure(study.cells[0].folder(tmp_path), "DivergedError: [nan]")
    stream = io.StringIO()
    assert not _told(tmp_path, study, Console(file=stream, width=400))
    said = stream.getvalue()
    assert "ce__fold_0__seed_0 failed: DivergedError: [nan]" in said
    assert "dice__fold_0__seed_0 failed: it left no reason" in said
    assert "no report: no cell has a result" in said


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 2, "out/x: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
        (StudyError("no such fold"), 2, "no such fold"),
    ],
)
def test_it_ends_at_once_with_words(
    error: BaseException,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    class Left(BaseException):
        pass

    def leave(status: int) -> None:
        raise Left(status)

    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setattr("os._exit", leave)
    monkeypatch.setattr("nnunet_losses.compare.run.compare", fail)
    with pytest.raises(Left) as ended:
        commands.compare_command("data", losses=["ce"], output=tmp_path)
    assert ended.value.args == (status,)
    assert words in capsys.readouterr().err


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(StudyError, match=r"device is 'gpu'; choose auto, cuda, cpu or mps"):
        _device("gpu")


def test_a_checkpoint_that_was_cut_short_is_not_read(tmp_path: Path) -> None:
    import torch

    file = tmp_path / "checkpoint_latest.pth"
    assert not _is_whole(file)
    torch.save({"weights": torch.zeros(1000)}, file)
    assert _is_whole(file)
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:2000] + b"\xff" + whole[2001:], b""):
        file.write_bytes(damaged)
        assert not _is_whole(file)
