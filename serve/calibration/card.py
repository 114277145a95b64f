"""What the model card says of a calibration, and its figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nnunet_losses.serve.safety.conformal import cases_for
from nnunet_losses.serve.safety.verdict import largest_p, refused_remark

from .figures import level_figure, presence_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnunet_losses.serve.safety.calibration import Calibration, DistributionSection
    from nnunet_losses.serve.safety.presence_section import PresenceSection

CARD = "MODEL_CARD.md"
FIGURES: dict[str, Callable[[Calibration], str]] = {
    "calibration_levels.svg": level_figure,
    "calibration_presence.svg": presence_figure,
}
HEADING = "## Calibration"
_EARLIER = re.compile(rf"^{HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_NOT_CALIBRATED = re.compile(r"^- Not calibrated:.*\n", re.MULTILINE)


def calibrated_card(card: str, calibration: Calibration) -> str:
    """Put the section about a calibration into a model card, in place of an earlier one.

    Args:
        card: Markdown.
        calibration: of the same bundle.
    """
    text = _NOT_CALIBRATED.sub("", _EARLIER.sub("", card)).rstrip("\n")
    return f"{text}\n\n{calibration_section(calibration)}\n"


def calibration_section(calibration: Calibration) -> str:
    """Say in Markdown what was calibrated, with which cases, and what that promises."""
    counts = calibration.counts
    made = (
        f"Made on {calibration.created} ({calibration.provider}, {calibration.precision}) by running "
        f"{counts.cases} cases: {counts.fitted} that the model was trained with, {counts.ranked} that are "
        f"new to it ({counts.lesion_bearing} with something to find, {counts.lesion_free} without, "
        f"{counts.unlabelled} unknown), {counts.outliers} known to be strange; {counts.set_aside} set aside, "
        f"{counts.refused} new ones refused by the input contract."
    )
    lines = [
        made,
        *([] if calibration.distribution is None else _distribution(calibration.distribution)),
        *([] if calibration.presence is None else _presence(calibration.presence)),
    ]
    return "\n\n".join([HEADING, *lines])


def _distribution(section: DistributionSection) -> list[str]:
    rows = [
        _level(name, level, section)
        for name, level in (
            ("suspicious", section.levels.suspicious),
            ("out_of_distribution", section.levels.out_of_distribution),
        )
    ]
    sentence = (
        f"Like the known images? Each new image is ranked among {section.n} cases by "
        f"{len(section.scores)} scores. Guarantee: {section.guarantee.value}, for images that come from "
        "where these cases come from. "
        "It says nothing of how many strange images are caught."
    )
    remark = [told for told in (section.remark, refused_remark(section)) if told]
    figure = "![False alarms that the levels allow](calibration_levels.svg)"
    return [" ".join([sentence, *remark]), "\n".join(rows), figure]


def _level(name: str, level: float, section: DistributionSection) -> str:
    limit = largest_p(section.n, level, section.pac)
    if limit is not None:
        return f"- {name}: at most {level:.3g} of usual images."
    needed = "" if section.pac is not None else f"; it needs {cases_for(level)} cases"
    return f"- {name} at {level:.3g}: cannot be reached with {section.n} cases{needed}."


def _presence(section: PresenceSection) -> list[str]:
    rows = [
        f"| {label.label} | {label.guarantee.value} | {label.n_lesion_free} | {len(label.lesion_bearing)} "
        f"| {_threshold(label.lower)} | {_threshold(label.upper)} |"
        for label in section.labels
    ]
    head = [
        "| label | guarantee | cases without | cases with | empty below | present above |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    sentence = (
        f"Is there anything? Allowed are {section.false_alarms:.3g} false alarms among cases without a label "
        f"and {section.misses:.3g} misses among those with it."
    )
    figure = "![Presence scores of cases with and without each label](calibration_presence.svg)"
    return [sentence, "\n".join([*head, *rows]), figure] if rows else []


def _threshold(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
