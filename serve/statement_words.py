"""What an answer says about its mask in words: warnings, problems and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer import Problem, Verdict, Warning_
from .errors import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

REMARKS = {
    "surrogate": (
        "Too few calibration cases are without the label: what the model marked wrongly in others stands in "
        "for them. That the rate of false alarms holds is an assumption."
    ),
    "approximate": "Every calibration case trained some of the served networks.",
}

STRANGE_REMARK = (
    "The image is unlike the known ones, and what the calibration promises is about images like them."
)
STRANGE = {
    Verdict.SUSPICIOUS: Warning_(
        code="answer.suspicious",
        message="The image is unlike most that the model knows: see `distribution`. Check the mask closely.",
    ),
    Verdict.OUT_OF_DISTRIBUTION: Warning_(
        code="answer.out_of_distribution",
        message="The image is unlike those that the model knows: see `distribution`. The mask may be wrong.",
    ),
}
SUPPRESSED = Warning_(
    code="answer.suppressed",
    message=(
        "The image is unlike those that the model knows, and the mask was emptied, as was asked for. This is "
        "no finding: nothing was decided."
    ),
)
POLICY_WITHOUT_CALIBRATION = Warning_(
    code="policy.not_calibrated",
    message=(
        "Strange images should not be answered, but this bundle has no calibration to know them by. Only "
        "breaches of the input contract were looked for."
    ),
)
# An empty mask of a model whose misses nobody has counted must not be taken for a healthy patient.
EMPTY_NOT_CALIBRATED = Warning_(
    code="answer.empty_not_calibrated",
    message=(
        "The mask is empty. How often the model overlooks something has not been measured for this bundle, "
        "so this is not evidence that there is nothing."
    ),
)
EMPTY_FLAG = Warning_(
    code="answer.empty",
    message="Nothing was found. `labels` says for each label how sure that is.",
)
OUT_OF_DISTRIBUTION = Problem(
    code=Code.POLICY_OUT_OF_DISTRIBUTION,
    detail="The image is unlike those that the model knows; such images were not to be answered.",
    remedy="See `distribution` in the answer, send another image, or choose another policy for such ones.",
)
EMPTY = Problem(
    code=Code.POLICY_EMPTY,
    detail="Nothing was found, and empty masks were not to be answered. This is not a finding.",
    remedy="Look at the image, or choose another policy for empty masks.",
)


def removed_warning(names: Sequence[str]) -> Warning_:
    """Say that labels were taken out of the mask."""
    return Warning_(
        code="answer.components_removed",
        message=(
            f"What the network marked of {', '.join(names)} is below the confidence that the calibration "
            "asks for, and was removed; `policy.removed_components` lists it."
        ),
    )


def open_warning(names: Sequence[str]) -> Warning_:
    """Say that labels are not decided."""
    return Warning_(
        code="answer.indeterminate",
        message=f"Whether there is {', '.join(names)} could not be decided. Somebody should look.",
    )
