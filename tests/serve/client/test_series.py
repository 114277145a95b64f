"""Cases that lie in an archive: what is sent for them, and what is said of them."""

from __future__ import annotations

import json

import httpx
import pytest

from nnunet_losses.serve.client import Client, Job, Push, Series
from nnunet_losses.serve.client.cases import series_case
from nnunet_losses.serve.client.records import Model
from nnunet_losses.serve.client.sending import Sent, exit_code

BRAIN = Model(name="brain", state="ready", parts=("T1", "FLAIR"))


def test_a_series_is_sent_as_json() -> None:
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"archives": [{"name": "pacs", "later": 1}]})
        bodies.append((request.headers["content-type"], json.loads(request.content)))
        return httpx.Response(202, json={"id": "0", "state": "queued", "model": "brain"})

    with Client("http://host", transport=httpx.MockTransport(answer)) as client:
        assert client.archives() == ("pacs",)
        series = Series(archive="pacs", study="1.2", series={"T1": "1.3", "FLAIR": "1.4"})
        options = {"orientation": "RAS", "uncertainty": "true", "step": "0.7"}
        job = client.submit(series, model="brain", outputs=("mask", "seg"), push="research", options=options)
    assert job == Job(id="0", state="queued", model="brain")
    source = {"archive": "pacs", "study": "1.2", "series": {"T1": "1.3", "FLAIR": "1.4"}}
    expected = {
        "source": source, "model": "brain", "outputs": ["mask", "seg"], "push": "research",
        "orientation": "RAS", "uncertainty": True, "step": 0.7,
    }  # fmt: skip
    assert bodies == [("application/json", expected)]


def test_channels_are_named_on_the_command_line() -> None:
    case = series_case("pacs", "1.2", ["T1=1.3", "FLAIR=1.4"], BRAIN)
    assert (case.name, case.series) == (
        "1.3",
        Series(archive="pacs", study="1.2", series={"T1": "1.3", "FLAIR": "1.4"}),
    )
    for wrong in (["T1=1.3"], ["T1=1.3", "T1=1.4"], ["T1=", "FLAIR=1.4"], ["1.3", "1.4"]):
        with pytest.raises(ValueError, match="once for each of T1, FLAIR"):
            series_case("pacs", "1.2", wrong, BRAIN)


@pytest.mark.parametrize(("state", "code"), [("stored", 0), ("withheld", 0), ("failed", 1)])
def test_what_was_not_stored_counts(state: str, code: int) -> None:
    assert exit_code([Sent("a", "segmented", {}, push=Push(archive="pacs", state=state))]) == code
