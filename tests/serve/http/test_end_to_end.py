"""A real bundle behind ``nnunet-losses serve``, in a process of its own that cannot import PyTorch."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.predictor import Predictor

from ...conftest import require
from .fakes import PATIENCE, parse, problem, wait_for
from .real import started

if TYPE_CHECKING:
    from .real import Server


def test_the_served_mask_is_the_predicted_one_byte_for_byte(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    response = server.segment(server.image.read_bytes(), data={"case": "visit 2"})
    assert response.status_code == 200, response.text
    reply = parse(response)
    predictor = Predictor(Bundle.load(bundle), backend="cpu", threads=1)
    written = predictor.predict_to_folder(Case("anything", (server.image,)), tmp_path)
    assert written.mask_file is not None
    assert reply.mask == written.mask_file.read_bytes()
    assert reply.answer["case"] == "visit 2"
    assert reply.answer["labels"] == json.loads(written.answer.model_dump_json())["labels"]
    assert reply.answer["manifest"]["mask_sha256"] == written.answer.manifest.mask_sha256
    assert reply.answer["manifest"]["input_sha256"] == written.answer.manifest.input_sha256


def test_no_torch_is_loaded(server: Server) -> None:
    require(Path("/proc/self/maps").exists(), "there is no /proc to look into")
    (worker,) = server.workers()
    assert "onnxruntime" in (worker / "maps").read_text()
    assert "torch" not in (worker / "maps").read_text()


def test_the_http_process_never_runs_the_network(server: Server) -> None:
    require(Path("/proc/self/maps").exists(), "there is no /proc to look into")
    assert server.segment(server.image.read_bytes()).status_code == 200
    maps = Path("/proc", str(server.process.pid), "maps").read_text()
    assert "onnxruntime" not in maps
    assert "torch" not in maps


def test_the_model_is_described(server: Server, bundle: Path) -> None:
    (model,) = server.client.get("/v1/models").json()["models"]
    assert model["sha256"] == Bundle.load(bundle).sha256
    assert model["provider"] == "CPUExecutionProvider"
    assert model["parts"] == ["MRI"]
    assert [label["name"] for label in model["labels"]] == ["lesion", "organ"]


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]


def _wrong_crc(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def _short_payload(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-4000])


def _text(_: bytes) -> bytes:
    return b"this is no image"


def _nothing(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("harm", "codes"),
    [
        (_truncated, {"input.truncated"}),
        (_flipped, {"input.corrupt"}),
        (_wrong_crc, {"input.corrupt"}),
        (_short_payload, {"input.truncated"}),
        (_text, {"input.corrupt", "input.unsupported_format", "input.unreadable"}),
        (_nothing, {"input.truncated", "input.unreadable"}),
    ],
)
def test_damaged_files_are_refused_by_name(server: Server, harm: Any, codes: set[str]) -> None:
    response = server.segment(harm(server.image.read_bytes()))
    assert response.json()["code"] in codes, response.text
    problem(response, 400, response.json()["code"])
    assert str(server.folder) not in response.text


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.0, "contract.blank"), (7.0, "contract.constant"), (np.nan, "contract.non_finite")],
)
def test_images_that_say_nothing_are_rejected_with_an_answer(
    server: Server, tmp_path: Path, value: float, code: str
) -> None:
    path = tmp_path / "image.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((9, 18, 20), value, np.float32)), str(path))
    content = problem(server.segment(path.read_bytes(), "image.nii"), 422, code)
    assert content["answer"]["outcome"] == "rejected"
    assert content["answer"]["problem"]["code"] == code
    assert content["answer"]["manifest"]["bundle_sha256"]


def test_a_wrong_channel_is_rejected_with_an_answer(server: Server) -> None:
    response = server.client.post("/v1/segment", files={"CT": ("a.nii.gz", server.image.read_bytes())})
    content = problem(response, 422, "contract.channel_name")
    assert (content["expected"], content["answer"]["outcome"]) == (["MRI"], "rejected")


def test_too_much_is_refused(server: Server) -> None:
    problem(server.segment(b"\0" * 2_000_000), 413, "input.too_large")


def uploaded(server: Server) -> set[Path]:
    return set((server.folder / "uploads").glob("*/*/*/*"))


def test_nothing_is_left_behind_and_the_log_is_json(server: Server) -> None:
    before = uploaded(server)  # of jobs of other tests, until the housekeeper comes by
    server.segment(server.image.read_bytes(), "JaneDoe.nii.gz")
    assert uploaded(server) <= before
    wait_for(lambda: {"model.ready", "request"} <= {event["event"] for event in logged(server)})
    assert "JaneDoe" not in (server.folder / "log.jsonl").read_text()


def logged(server: Server) -> list[dict[str, Any]]:
    """The log's lines, but for one that is just being written."""
    log = (server.folder / "log.jsonl").read_text()
    return [json.loads(line) for line in log[: log.rfind("\n") + 1].splitlines()]


def test_ctrl_c_ends_it_in_order(bundle: Path, tmp_path: Path) -> None:
    with started(bundle, tmp_path) as (process, url):
        assert httpx.get(f"{url}/v2/health/live", timeout=PATIENCE).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert "Traceback" not in (tmp_path / "log.jsonl").read_text()
