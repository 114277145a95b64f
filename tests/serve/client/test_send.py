"""``nnunet-losses send`` against a service."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app

from ..page import images
from ..page.fake_service import KEY, FakeService, answer, model

if TYPE_CHECKING:
    from pathlib import Path


def send(url: str, folder: Path, *arguments: Any) -> Any:
    command = ["send", *map(str, arguments), "--server", url, "--output", str(folder)]
    return CliRunner().invoke(app, command)


def test_a_mask_and_an_answer_for_each_case(
    service: FakeService, url: str, image: Path, tmp_path: Path
) -> None:
    shutil.copy(image, image.with_name("second.nii"))
    done = send(url, tmp_path / "out", image, image.with_name("second.nii"))
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"Doe_John.json", "Doe_John.nii.gz", "second.json", "second.nii.gz"}
    assert json.loads((tmp_path / "out" / "second.json").read_text())["outcome"] == "segmented"
    assert (tmp_path / "out" / "second.nii.gz").read_bytes() == images.mask()
    assert len({one["Idempotency-Key"] for one in service.received}) == 2
    assert "segmented" in done.stdout


def test_further_outputs(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.files["seg"] = ("case.seg.dcm", "application/dicom", b"dicom")
    service.files["png"] = ("png.overlay.png", "image/png", b"png")
    service.files["strange name;x"] = ("evil", "application/json", b"{}")
    done = send(url, tmp_path / "out", image, "--outputs", "seg", "--option", "ood=reject", "--json")
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["cases"][0]["files"]
    assert set(files) == {"answer", "mask", "seg", "png", "strange name;x"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "Doe_John.json",
        "Doe_John.nii.gz",
        "Doe_John.seg.dcm",
        "Doe_John.overlay.png",
        "Doe_John.strange_name_x.json",
    }
    assert service.received[0]["outputs"] == "mask,answer,seg"
    assert service.received[0]["ood"] == "reject"


def test_rejected_is_3(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.files = {}
    service.answer = answer(outcome="rejected", labels=[])
    assert send(url, tmp_path / "out", image).exit_code == 3


def test_no_older_mask_stands_beside_a_rejection(
    service: FakeService, url: str, image: Path, tmp_path: Path
) -> None:
    service.files["nrrd"] = ("case.nrrd", "application/octet-stream", b"NRRD")
    arguments = (url, tmp_path / "out", image, "--outputs", "nrrd")
    assert send(*arguments).exit_code == 0
    names = {"Doe_John.json", "Doe_John.nii.gz", "Doe_John.nrrd.nrrd"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    service.files, service.answer = {}, answer(outcome="rejected", labels=[])
    assert send(*arguments).exit_code == 3
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"Doe_John.json"}


def test_the_server_s_ending_leads_nowhere_else(
    service: FakeService, url: str, image: Path, tmp_path: Path
) -> None:
    service.models = [model(file_ending="/../../evil.nii.gz")]
    done = send(url, tmp_path / "out", image)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "evil.nii.gz").exists()
    assert images.mask() in [path.read_bytes() for path in (tmp_path / "out").iterdir()]


def test_rejected_at_the_door_is_3_and_has_an_answer(
    service: FakeService, url: str, image: Path, tmp_path: Path
) -> None:
    service.refusal = {
        "status": 422,
        "code": "contract.channel_count",
        "detail": "d",
        "remedy": "r",
        "answer": {"outcome": "rejected", "case": "case"},
    }
    assert send(url, tmp_path / "out", image).exit_code == 3
    assert json.loads((tmp_path / "out" / "Doe_John.json").read_text()) == {
        "outcome": "rejected",
        "case": "Doe_John",
    }


def test_failed_is_1_and_says_why(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.answer = None
    service.problem = {"code": "worker.lost", "detail": "It died twice.", "remedy": "Tell the operator."}
    done = send(url, tmp_path / "out", image)
    assert done.exit_code == 1
    assert "worker.lost" in done.stdout
    assert json.loads((tmp_path / "out" / "Doe_John.problem.json").read_text())["code"] == "worker.lost"


def test_a_run_that_was_stopped_finds_its_job(
    service: FakeService, url: str, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    class Interrupted(Exception):
        pass

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_losses.serve.client.client.Client.wait", interrupt)
        assert send(url, folder, image).exit_code == 130
    assert [path.name for path in folder.iterdir()] == ["Doe_John.job.json"]
    assert send(url, folder, image).exit_code == 0
    assert len(service.received) == 1
    assert {path.name for path in folder.iterdir()} == {"Doe_John.json", "Doe_John.nii.gz"}


def test_another_image_is_another_job(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "Doe_John.job.json").write_text('{"job": "0", "request": []}')
    assert send(url, folder, image).exit_code == 0
    assert len(service.received) == 1


def test_several_channels(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.models = [model(parts=["T1", "FLAIR"])]
    second = shutil.copy(image, image.with_name("Doe_John_0001.nii"))
    assert send(url, tmp_path / "a", image, second).exit_code == 0
    assert (
        send(url, tmp_path / "b", "--channel", f"flair={second}", "--channel", f"T1={image}").exit_code == 0
    )
    missing = send(url, tmp_path / "c", image)
    assert missing.exit_code == 2
    assert "lacks FLAIR" in " ".join(missing.output.replace("│", "").split())
    assert len(service.received) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["IMAGE", "--channel", "MRI=x"], "in an --archive"),
        ([], "in an --archive"),
        (["absent.nii"], "does not exist"),
        (["IMAGE", "--model", "liver"], "Choose one of: hippocampus"),
        (["IMAGE", "--option", "x"], "NAME=VALUE"),
        (["--archive", "pacs", "--study", "1.2"], "belong together"),
        (["IMAGE", "--archive", "pacs", "--study", "1.2", "--series", "1.3"], "in an --archive"),
        (["--archive", "pacs", "--study", "1.2", "--series", "A=1.3", "--series", "B=1.4"], "NAME=UID"),
    ],
)
def test_wrong_command_lines_are_2(
    service: FakeService, url: str, image: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    done = send(url, tmp_path / "out", *(str(image) if word == "IMAGE" else word for word in arguments))
    assert done.exit_code == 2
    assert reason in " ".join(done.output.replace("│", "").split())
    assert service.received == []


def test_a_file_that_is_not_there_is_told_before_a_server_is_waited_for(tmp_path: Path) -> None:
    done = send("http://127.0.0.1:9", tmp_path / "out", "absent.nii", "--patience", "60")
    assert done.exit_code == 2
    assert "absent.nii does not exist" in " ".join(done.output.replace("│", "").split())


def test_images_are_never_written_over(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.models = [model(file_ending=".nii")]
    plain = shutil.copy(image, image.with_name("scan.nii"))
    done = send(url, tmp_path, plain)
    assert done.exit_code == 2
    assert "is one of the images" in " ".join(done.output.replace("│", "").split())
    assert plain.read_bytes() == image.read_bytes()


def test_with_a_key_from_a_file(service: FakeService, url: str, image: Path, tmp_path: Path) -> None:
    service.wants_key = True
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert send(url, tmp_path / "out", image).exit_code == 1
    assert send(url, tmp_path / "out", image, "--api-key-file", tmp_path / "key").exit_code == 0


@pytest.mark.parametrize("address", ["ftp://server", "localhost:8000", ""])
def test_what_is_no_address_is_2(image: Path, tmp_path: Path, address: str) -> None:
    done = CliRunner().invoke(app, ["send", str(image), "--server", address, "--output", str(tmp_path)])
    assert done.exit_code == 2
    assert "is not a server's address" in " ".join(done.output.replace("│", "").split())


def test_an_impossible_key_is_2(url: str, image: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("two\nlines")
    done = send(url, tmp_path / "out", image, "--api-key-file", tmp_path / "key")
    assert done.exit_code == 2
    assert "two" not in done.output


def test_nobody_there_is_1(image: Path, tmp_path: Path) -> None:
    command = [
        "send",
        str(image),
        "--server",
        "http://127.0.0.1:9",
        "--output",
        str(tmp_path),
        "--patience",
        "0",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "client.unreachable" in done.output
