"""The page in a real browser: what a person sees, from the file to the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from . import images
from .driver import ORANGE, SKY, Driver, script
from .fake_service import KEY, TILES, FakeService, answer, model

if TYPE_CHECKING:
    from pathlib import Path

MASK = {"mask": ("mask.nii", "application/octet-stream", images.mask())}


def test_from_the_file_to_the_mask_over_the_image(service: FakeService, driver: Driver, volume: str) -> None:
    service.files = dict(MASK)
    driver.choose(volume)
    assert "Doe_John.nii" in driver.page.locator(".slot").inner_text()
    driver.send()
    assert driver.headline() == "Found: Anterior and Posterior"
    assert driver.viewer() == "volume"
    driver.see(ORANGE, SKY)
    assert "never calibrated" in driver.statement()
    assert "Nothing is promised about error rates" in driver.statement()
    assert "Not a medical device" in driver.page.locator("#result").inner_text()


def test_progress_is_shown_by_stage_and_tile(service: FakeService, driver: Driver, volume: str) -> None:
    service.starts_when = lambda: bool(service.heard)
    driver.page.evaluate(script("watch_progress"))
    driver.choose(volume)
    driver.send()
    driver.headline()
    said = driver.page.evaluate("() => [...window.said]")
    assert "Waiting: 2 jobs are before this one" in said
    assert {f"Segmenting: {done} of {TILES} tiles" for done in range(1, TILES)} <= set(said)
    assert service.polls < 5  # events, not questions


def test_without_events_the_page_asks(service: FakeService, driver: Driver, volume: str) -> None:
    service.has_events = False
    service.starts_when = lambda: service.polls > 2
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Found: Anterior and Posterior"
    assert service.heard == []


def test_cancelled_while_it_runs(service: FakeService, driver: Driver, volume: str) -> None:
    service.starts_when = lambda: False
    driver.choose(volume)
    driver.send()
    driver.page.locator("#stages").get_by_text("Waiting").wait_for()
    driver.page.wait_for_url("**#job=*")
    driver.page.get_by_role("button", name="Cancel").click()
    assert driver.headline() == "Cancelled"
    assert [job["state"] for job in service.jobs.values()] == ["cancelled"]


def test_an_empty_mask_is_a_finding(service: FakeService, driver: Driver, volume: str) -> None:
    nothing = {"present": False, "voxels": 0, "volume_ml": 0.0, "components": 0}
    labels = [{"name": name, **nothing} for name in ("Anterior", "Posterior")]
    empty = {"reason": "NO_VOXEL_ABOVE_THRESHOLD", "meaning": "no_finding"}
    service.answer = answer(outcome="empty", labels=labels, empty=empty)
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.mask(labels=()))}
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Nothing found"
    assert "not an error" in driver.page.locator("#summary").inner_text()
    assert driver.viewer() == "volume"
    driver.see_image()
    driver.see(without=(ORANGE, SKY))


@pytest.mark.parametrize("meaning", ["no_decision", "indeterminate"])
def test_emptied_by_a_policy_is_no_finding(
    service: FakeService, driver: Driver, volume: str, meaning: str
) -> None:
    service.answer = answer(outcome="empty", empty={"reason": "REJECTED_OOD", "meaning": meaning})
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Empty, but undecided"
    assert "does not mean that there is nothing" in driver.page.locator("#summary").inner_text()


def test_an_unusual_image_is_called_so(service: FakeService, driver: Driver, volume: str) -> None:
    distribution = {
        "verdict": "out_of_distribution",
        "p": 0.02,
        "p_min": 0.02,
        "n_calibration": 49,
        "remark": "Too few cases for 1 %.",
        "evidence": [{"name": "histogram", "message": "The contrast is another one.", "p": 0.02}],
    }
    tile = {"voxels": [[2, 10], [4, 12], [6, 20]], "corners_mm": [[-12, -20, 4], [-4, -8, 14]], "z": 9.12}
    distribution["unusual_tiles"] = [tile, tile | {"corners_mm": None, "z": 3.0}]
    removed = [{"label": "Anterior", "voxels": 12, "reason": "too small"}]
    policy = {"ood": "flag", "empty": "flag", "applied": [], "removed_components": removed}
    service.answer = answer(distribution=distribution, policy=policy)
    driver.choose(volume)
    driver.send()
    driver.headline()
    assert driver.page.locator("#banner").get_attribute("data-tone") == "warning"
    text = driver.statement()
    for words in (
        "Unlike the calibration images",
        "2 %",
        "Too few cases for 1 %.",
        "Evidence (1)",
        "Removed parts (1)",
        "12",
        "2 places",
        "right–left 8, back–front 14, foot–head 9 mm (8 × 12 × 10 mm large): 9.1 deviations",
        "Columns 6 to 19, rows 4 to 11",
    ):
        assert words in text
    assert (
        driver.page.get_by_role("button", name="Show", exact=True).count() == 1
    )  # where there are millimetres
    driver.page.get_by_text("Evidence (1)").click()
    assert "The contrast is another one." in driver.statement()


def test_a_calibrated_decision_and_its_promise(service: FakeService, driver: Driver, volume: str) -> None:
    decision = {
        "decision": "indeterminate",
        "lower": 2.5,
        "upper": 8.0,
        "p": 0.06,
        "guarantee": "conformal",
        "false_alarms": 0.05,
        "misses": 0.1,
        "n_lesion_free": 30,
        "n_lesion_bearing": 31,
    }
    mask = {"name": "Anterior", "present": True, "voxels": 12, "volume_ml": 0.1, "components": 2}
    service.answer = answer(
        outcome="indeterminate",
        labels=[{**mask, "presence_score": 5.8885, "presence": decision}],
        guarantee={
            "kind": "conformal",
            "alpha": 0.05,
            "misses": 0.1,
            "n": 30,
            "remark": "The weakest of all.",
        },
        quality={"expected_dice": 0.4254, "interval": [0.0086, 1.0], "coverage": 0.9, "n": 30},
    )
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Neither found nor ruled out"
    row = driver.page.locator("#statement tbody tr").inner_text()
    assert "indeterminate" in row
    assert "5.89" in row
    for words in (
        "At most 5 % of images without a structure",
        "at most 10 % of those with it are wrongly called empty",
        "nor about how well the mask is drawn",
        "The weakest of all.",
        "Dice: 0.43 (in 90 % of cases between 0.0086 and 1)",
    ):
        assert words in driver.statement()


def test_a_suppressed_mask_is_no_finding(service: FakeService, driver: Driver, volume: str) -> None:
    empty = {"reason": "REJECTED_OOD", "meaning": "no_decision"}
    service.answer = answer(outcome="indeterminate", empty=empty)
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Empty, but undecided"
    assert "withheld" in driver.page.locator("#summary").inner_text()


def test_rejected_says_why_and_what_to_do(service: FakeService, driver: Driver, volume: str) -> None:
    problem = {
        "code": "contract.spacing",
        "detail": "The slices are 12 mm apart.",
        "remedy": "Send thin slices.",
        "observed": 12.0,
        "expected": 1.0,
    }
    service.answer = answer(outcome="rejected", labels=[], problem=problem)
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Not segmented"
    assert "This is no finding" in driver.page.locator("#summary").inner_text()
    for words in (
        "The slices are 12 mm apart.",
        "Send thin slices.",
        "contract.spacing",
        "Seen\n12",
        "Expected\n1",
    ):
        assert words in driver.statement()
    assert not driver.page.locator("#viewer").is_visible()


def test_a_failed_job_says_why(service: FakeService, driver: Driver, volume: str) -> None:
    service.answer = None
    service.problem = {
        "code": "worker.lost",
        "detail": "The worker died twice.",
        "remedy": "Tell the operator.",
    }
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "Not segmented"
    for words in ("The worker died twice.", "Tell the operator.", "worker.lost"):
        assert words in driver.statement()


def test_a_refused_submission_says_why(service: FakeService, driver: Driver, volume: str) -> None:
    service.refusal = {
        "status": 503,
        "code": "queue.full",
        "title": "Full",
        "detail": "64 jobs wait.",
        "remedy": "Later.",
    }
    driver.choose(volume)
    driver.send()
    assert driver.headline() == "No answer"
    assert "64 jobs wait." in driver.statement()


def test_text_of_the_server_is_never_markup(service: FakeService, driver: Driver, volume: str) -> None:
    evil = "<img src=x onerror=alert(1)>"
    service.answer = answer(warnings=[{"code": evil, "message": evil, "observed": None, "expected": None}])
    driver.choose(volume)
    driver.send()
    driver.headline()
    assert evil in driver.statement()
    assert driver.page.locator("#statement img").count() == 0


def test_the_clients_file_name_is_not_sent(service: FakeService, driver: Driver, volume: str) -> None:
    driver.choose(volume)
    driver.send()
    driver.headline()
    (received,) = service.received
    assert received["MRI"] == "image.nii"
    assert "Doe" not in json.dumps(received)
    assert len(received["Idempotency-Key"]) == 32


def test_several_channels_by_name(chromium: Any, url: str, service: FakeService, tmp_path: Path) -> None:
    service.models = [model(name="brain", parts=["T1", "FLAIR"])]
    files = images.write(tmp_path, scan_flair__nii=images.volume(), scan_t1__nii=images.volume())
    with Driver.opened(chromium, url) as driver:
        driver.choose(*files, part="T1")
        slots = driver.page.locator(".slot")
        assert "scan_t1.nii" in slots.nth(0).inner_text()
        assert "scan_flair.nii" in slots.nth(1).inner_text()
        driver.page.get_by_label("Which channel this file is (now T1)").select_option("FLAIR")
        assert "scan_flair.nii" in slots.nth(0).inner_text()
        driver.send()
        driver.headline()
    assert set(service.received[0]) >= {"T1", "FLAIR", "model", "outputs"}


def test_files_of_unknown_channels_are_guessed_and_said_so(
    chromium: Any, url: str, service: FakeService, tmp_path: Path
) -> None:
    service.models = [model(name="brain", parts=["T1", "FLAIR"])]
    files = images.write(tmp_path, a__nii=images.volume(), b__nii=images.volume())
    with Driver.opened(chromium, url) as driver:
        driver.choose(*files, part="T1")
        assert "Please check" in driver.page.locator("#files-note").inner_text()


def test_a_dropped_file_is_taken(driver: Driver) -> None:
    transfer = driver.page.evaluate_handle("() => new DataTransfer()")
    transfer.evaluate("data => data.items.add(new File(['x'], 'dropped.nii'))")
    driver.page.dispatch_event(".slot", "drop", {"dataTransfer": transfer})
    assert "dropped.nii" in driver.page.locator(".slot").inner_text()
    driver.page.get_by_role("button", name="Remove").click()
    driver.page.dispatch_event("header", "drop", {"dataTransfer": transfer})
    assert "dropped.nii" in driver.page.locator(".slot").inner_text()


def test_a_missing_file_is_said_before_anything_is_sent(service: FakeService, driver: Driver) -> None:
    driver.page.locator(".slot").wait_for()
    driver.send()
    assert "There is no file for MRI." in driver.page.locator("#form-problem").inner_text()
    assert service.received == []
    assert driver.page.evaluate("document.activeElement.id") == "file-0"


def test_a_result_is_saved_under_the_servers_name(service: FakeService, driver: Driver, volume: str) -> None:
    service.files = dict(MASK)
    driver.choose(volume)
    driver.send()
    driver.headline()
    with driver.page.expect_download() as download:
        driver.page.get_by_role("button", name="Mask", exact=False).click()
    assert download.value.suggested_filename == "mask.nii"
    assert download.value.path().read_bytes() == images.mask()


def test_a_damaged_result_is_not_saved(service: FakeService, driver: Driver, volume: str) -> None:
    driver.choose(volume)
    driver.send()
    driver.headline()
    (job,) = service.jobs.values()
    job["files"]["answer"] = ("answer.json", "application/json", b"{}")
    driver.page.get_by_role("button", name="Answer").click()
    driver.page.get_by_text("A file arrived damaged").wait_for()


def test_an_api_key_is_asked_for_and_used(chromium: Any, url: str, service: FakeService, volume: str) -> None:
    service.wants_key = True
    with Driver.opened(chromium, url) as driver:
        for key in ("wrong", KEY):
            driver.page.get_by_label("API key", exact=True).fill(key)
            driver.page.get_by_role("button", name="Use it").click()
            if key != KEY:  # the first of all requests had none
                driver.page.locator("#key-problem", has_text="The request has no valid key.").wait_for()
        driver.choose(volume)
        driver.send()
        assert driver.headline() == "Found: Anterior and Posterior"
        stored = driver.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
        assert stored == [0, 0, ""]


def test_a_reloaded_page_finds_its_job(service: FakeService, driver: Driver, volume: str) -> None:
    driver.choose(volume)
    driver.send()
    driver.headline()
    driver.page.reload()
    assert driver.headline() == "Found: Anterior and Posterior"


def test_a_forgotten_job_is_said_so(chromium: Any, url: str) -> None:
    with Driver.opened(chromium, url) as driver:
        driver.page.goto(f"{url}/ui/#job=0123")
        driver.page.reload()
        assert driver.headline() == "No answer"
        assert "There is no such job." in driver.statement()


def test_a_model_that_is_not_ready_is_not_offered(chromium: Any, url: str, service: FakeService) -> None:
    service.models = [model(name="broken", state="failed"), model()]
    with Driver.opened(chromium, url) as driver:
        driver.page.get_by_text("1 of 2 models ready").wait_for()
        assert driver.page.locator("#model").input_value() == "hippocampus"
        assert driver.page.locator("#model option").first.is_disabled()
