"""Which loss to take where the figures do not decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnunet_losses.compare.study import loss_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.compare.outcomes import Comparison, Outcome

DEFAULT = "dice_ce"  # nnU-Net's own loss


def choice(comparison: Comparison, alike: Sequence[Outcome]) -> str:
    """Name one loss out of those that cannot be told apart in Dice; nothing where there is only one.

    In this order: what left most lesion-free cases empty, nnU-Net's default, the highest mean Dice.

    Args:
        comparison: with the figures.
        alike: losses that are not shown to be worse than the best, best first.
    """
    if len(alike) < 2:
        return ""
    silent = leaders(comparison, alike, "specificity") or list(alike)
    chosen = next(filter(_is_default, silent), silent[0])
    return f"If one has to be taken: {chosen.title}. {_because(chosen, silent, alike)}"


def leaders(comparison: Comparison, some: Sequence[Outcome], name: str) -> list[Outcome]:
    """Losses that share the highest value of a figure; none where nobody has it."""
    values = {one.loss: comparison.figures[one.loss][name].value for one in some}
    most = max((value for value in values.values() if not math.isnan(value)), default=math.nan)
    return [one for one in some if values[one.loss] == most]


def _is_default(outcome: Outcome) -> bool:
    return loss_configuration(outcome.loss) == loss_configuration(DEFAULT)


def _because(chosen: Outcome, silent: Sequence[Outcome], alike: Sequence[Outcome]) -> str:
    """Say what it is taken for."""
    reasons = []
    if len(silent) < len(alike):
        reasons.append(f"Of the {len(alike)} alike in Dice, none left more lesion-free cases empty.")
    if len(silent) > 1 and _is_default(chosen):
        reasons.append("It is nnU-Net's default.")
    elif len(silent) > 1:
        reasons.append(f"Of {len(silent)} that share this, it has the highest mean Dice." if reasons else
                       "It has the highest mean Dice.")  # fmt: skip
    return " ".join([*reasons, "This is a choice and not a finding."])
