"""The table of edge cases: hand-computed values, and what MONAI and panoptica say, recorded and today."""

from __future__ import annotations

import importlib.util
import math
import os
import sys

import pytest

from benchmarks.metric_peers.__main__ import PAGE, asked
from benchmarks.metric_peers.cases import CASES, METRICS
from benchmarks.metric_peers.differences import differences, explained, ours, record, same
from benchmarks.metric_peers.table import written_into
from nnunet_losses.serve.metrics import Metric

from ...conftest import require

# python of an environment with panoptica, which needs older packages than ours
PANOPTICA = os.environ.get("NNUNET_LOSSES_PANOPTICA")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_worked_out_by_hand(case):
    result = ours(case)
    for metric, expected in zip(METRICS, case.hand, strict=True):
        value = result.formula(Metric(metric))
        assert (math.isnan(value) and math.isnan(expected)) or value == pytest.approx(expected, rel=1e-12), (
            metric
        )


def test_every_difference_has_its_reason_and_every_reason_a_difference():
    assert differences(record()) == set(explained())


def test_the_page_shows_the_table():
    page = PAGE.read_text(encoding="utf-8")
    assert written_into(page, record()) == page


def agree(now, recorded):
    for case in CASES:
        for metric, value in recorded["cases"][case.name].items():
            today = now["cases"][case.name][metric]
            known = None not in (value, today)
            assert same(float(value), float(today)) if known else value is today, (case.name, metric)


def test_monai_says_so_today():
    require(importlib.util.find_spec("monai"), "MONAI is not installed")
    agree(asked(sys.executable, "monai"), record()["monai"])


def test_panoptica_says_so_today():
    require(PANOPTICA, "NNUNET_LOSSES_PANOPTICA names no python that has panoptica")
    agree(asked(PANOPTICA, "panoptica"), record()["panoptica"])
