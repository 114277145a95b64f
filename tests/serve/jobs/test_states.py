"""The table of transitions."""

from __future__ import annotations

from itertools import product

import pytest

from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.states import FINAL, JobState, check_transition

from .helpers import refused

ALLOWED = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize(("before", "after"), list(product(JobState, JobState)))
def test_transitions(before: JobState, after: JobState) -> None:
    if (before.value, after.value) in ALLOWED:
        check_transition(before, after)
    else:
        with refused(JobCode.JOB_TRANSITION) as caught:
            check_transition(before, after)
        assert before.value in str(caught.value)
        assert after.value in str(caught.value)


def test_final_states() -> None:
    assert set(FINAL) == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
