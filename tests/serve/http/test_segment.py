"""POST /v1/segment with a fake engine: what arrives at the network, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.answer import Outcome
from nnunet_losses.serve.workers.engine import ResultFile, Segmentation

from .fakes import MASK, FakeEngine, Service, description, parse, problem, serving

if TYPE_CHECKING:
    from pathlib import Path


def test_the_reply_holds_answer_and_mask(service: Service) -> None:
    response = service.segment()
    reply = parse(response)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("multipart/mixed; boundary=")
    assert reply.mask == MASK
    assert reply.answer["outcome"] == "segmented"
    assert [part.get_content_type() for part in reply.parts] == ["application/json", "application/gzip"]
    assert [part.get_filename() for part in reply.parts] == ["answer.json", "mask.nii.gz"]
    assert int(reply.parts[1]["Content-Length"]) == len(MASK)


def test_files_reach_the_network_by_channel_under_our_names(service: Service) -> None:
    service.segment(files={"FLAIR": b"second", "T1": b"first"})
    assert service.engines[0].received[-1] == {
        "channel_0000.nii.gz": b"first",
        "channel_0001.nii.gz": b"second",
    }


@pytest.mark.parametrize("names", [("t1", "flair"), ("0000", "0001"), ("T1", "0001")])
def test_names_are_understood_in_any_case_and_as_indices(service: Service, names: tuple[str, str]) -> None:
    assert service.segment(files=dict(zip(names, (b"a", b"b"), strict=True))).status_code == 200
    assert list(service.engines[0].received[-1].values()) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("scan.nii", ".nii"), ("SCAN.NII.GZ", ".nii.gz"), ("a.b.nrrd", ".nrrd"), ("../../x.mha", ".mha"),
     ("scan", ".nii.gz"), ("jane.doe", ".nii.gz"), ("müller.nii", ".nii"), ("", ".nii.gz")],
)  # fmt: skip
def test_of_a_file_name_only_a_known_ending_is_kept(service: Service, sent: str, kept: str) -> None:
    service.segment(files={"T1": b"a", "FLAIR": b"b"})
    parts = [("T1", (sent or "\x20", b"a")), ("FLAIR", ("b.nii.gz", b"b"))]
    response = service.client.post("/v1/segment", files=parts)
    assert response.status_code == 200, response.text
    assert list(service.engines[0].received[-1]) == [f"channel_0000{kept}", "channel_0001.nii.gz"]


def test_bytes_arrive_unchanged_whatever_they_are(service: Service) -> None:
    nasty = bytes(range(256)) * 3000 + b"\r\n--not-the-boundary\r\n\r\n"
    service.segment(files={"T1": nasty, "FLAIR": b""})
    assert list(service.engines[0].received[-1].values()) == [nasty, b""]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("visit 2", "visit 2"), ("../../etc/passwd", ".._.._etc_passwd"), ("a\r\nb<script>", "a_b_script_"),
     ("", "case"), ("x" * 300, "x" * 64)],
)  # fmt: skip
def test_the_case_is_shown_and_harmless(service: Service, sent: str, shown: str) -> None:
    assert parse(service.segment(data={"case": sent})).answer["case"] == shown


def test_without_a_case_the_answer_does_not_invent_one(service: Service) -> None:
    assert parse(service.segment()).answer["case"] == "case"


@pytest.mark.parametrize(
    "accept", ["application/json", "application/*", "application/json, multipart/mixed;q=0.5"]
)
def test_the_answer_alone(service: Service, accept: str) -> None:
    response = service.segment(headers={"Accept": accept})
    assert response.headers["content-type"] == "application/json"
    assert response.json()["outcome"] == "segmented"


@pytest.mark.parametrize("accept", ["*/*", "multipart/*", "text/html, */*;q=0.1", "multipart/mixed;q=x, */*"])
def test_the_answer_with_the_mask(service: Service, accept: str) -> None:
    expected = "application/json" if "q=x" in accept else "multipart/mixed"
    assert service.segment(headers={"Accept": accept}).headers["content-type"].startswith(expected)


def test_other_outputs_are_given_without_a_mask(tmp_path: Path) -> None:
    class Writer(FakeEngine):
        def segment(self, files: Any, *, folder: Path, order: Any, progress: Any) -> Segmentation:
            made = super().segment(files, folder=folder, order=order, progress=progress)
            (folder / "a.nrrd").write_bytes(b"NRRD")
            more = {"nrrd": ResultFile(folder / "a.nrrd", "application/octet-stream")}
            return replace(made, more=more)

    with serving(Writer(), folder=tmp_path) as service:
        reply = parse(service.segment(data={"outputs": "nrrd"}))
    assert [part.get_filename() for part in reply.parts] == ["answer.json", "segmentation.nrrd"]
    assert reply.parts[1].get_payload(decode=True) == b"NRRD"


def test_what_nobody_offers_is_not_acceptable(service: Service) -> None:
    before = len(service.engines[0].received)
    problem(service.segment(headers={"Accept": "text/html"}), 406, "request.not_acceptable")
    assert len(service.engines[0].received) == before


def test_an_empty_mask_is_an_answer(tmp_path) -> None:
    with serving(FakeEngine(outcome=Outcome.EMPTY), folder=tmp_path) as service:
        reply = parse(service.segment())
    assert (reply.answer["outcome"], reply.mask) == ("empty", MASK)


def test_a_picture_with_all_channels_is_one_part(tmp_path) -> None:
    rgb = description(channels=("R", "G", "B"), reader="NaturalImage2DIO", ending=".png")
    with serving(FakeEngine(rgb), folder=tmp_path) as service:
        for name in ("image", "IMAGE", "0000"):
            reply = parse(service.client.post("/v1/segment", files={name: ("photo.png", b"rgb")}))
            assert service.engines[0].received.pop() == {"channel_0000.png": b"rgb"}
        assert reply.parts[1].get_content_type() == "image/png"
        assert service.client.get("/v1/models/brain").json()["parts"] == ["image"]
        files = [(name, (f"{name}.png", name.encode())) for name in "BGR"]
        assert service.client.post("/v1/segment", files=files).status_code == 200
        assert list(service.engines[0].received.pop().values()) == [b"R", b"G", b"B"]
        content = problem(service.client.post("/v1/segment", files=files[:1]), 422, "contract.channel_count")
        assert content["expected"] == ["image"]


def test_channels_of_one_name_are_told_apart_by_index(tmp_path) -> None:
    alike = description(channels=("zscore", "zscore", "T2"))
    with serving(FakeEngine(alike), folder=tmp_path) as service:
        assert service.client.get("/v1/models/brain").json()["parts"] == ["0000", "0001", "T2"]
        assert service.segment(files={"0001": b"b", "t2": b"c", "0000": b"a"}).status_code == 200
        assert list(service.engines[0].received[-1].values()) == [b"a", b"b", b"c"]
        refused = service.segment(files={"zscore": b"a", "0001": b"b", "T2": b"c"})
        assert problem(refused, 422, "contract.channel_name")["expected"] == ["0000", "0001", "T2"]


def test_names_that_differ_only_in_case_are_exact(tmp_path) -> None:
    with serving(FakeEngine(description(channels=("t1", "T1"))), folder=tmp_path) as service:
        service.segment(files={"T1": b"upper", "t1": b"lower"})
        assert list(service.engines[0].received[-1].values()) == [b"lower", b"upper"]


def test_several_models_are_chosen_by_name(tmp_path) -> None:
    liver, brain = FakeEngine(description(name="liver", channels=("CT",))), FakeEngine()
    with serving(liver, brain, folder=tmp_path) as service:
        content = problem(service.segment(), 422, "model.unspecified")
        assert content["models"] == ["liver", "brain"]
        reply = parse(service.segment(files={"CT": b"x"}, data={"model": "liver"}))
        assert reply.answer["manifest"]["model"] == "liver"
        content = problem(service.segment(data={"model": "Liver"}), 404, "model.unknown")
        assert content["models"] == ["liver", "brain"]


def test_the_network_runs_outside_the_event_loop(service: Service) -> None:
    service.segment()
    assert not any("MainThread" in name or name.startswith("Thread-") for name in service.engines[0].threads)
