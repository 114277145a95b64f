"""Decide for every label of one prediction, by the thresholds of a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .presence import Presence
from .presence_fit import case_score, component_score
from .presence_section import PresenceGuarantee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .candidates import LabelCandidates
    from .presence_section import LabelPresence, PresenceSection


@dataclass(frozen=True)
class Decision:
    """What is said of one label.

    Attributes:
        presence: present, empty or indeterminate.
        score: of the case; positive where the mask holds the label.
        p: share of cases without the label that score as high.
        known: thresholds and guarantee behind it.
        scores: of the components, in their order.
    """

    presence: Presence
    score: float
    p: float
    known: LabelPresence
    scores: tuple[float, ...]

    @property
    def removes(self) -> bool:
        """Whether the label's components leave the mask.

        Only where it is decided to be empty, and cases without the label stand behind the decision: on a
        surrogate no mask is changed.
        """
        is_surrogate = self.known.guarantee is PresenceGuarantee.SURROGATE
        return self.presence is Presence.EMPTY and bool(self.scores) and not is_surrogate


def decide(section: PresenceSection, found: Sequence[LabelCandidates]) -> dict[str, Decision]:
    """Decide for those labels of which the calibration knows enough, by name.

    A label of which the mask has nothing is never ``present``: where its score is above the upper threshold,
    the answer is ``indeterminate``. That only lowers the rate of false alarms.

    Args:
        section: of the calibration.
        found: candidates of the labels.
    """
    known = [(section.label(label.label), label) for label in found]
    return {
        label.label: _decide(section, presence, label) for presence, label in known if presence is not None
    }


def _decide(section: PresenceSection, known: LabelPresence, found: LabelCandidates) -> Decision:
    score = case_score(known.score, found)
    thresholds = known.thresholds(false_alarms=section.false_alarms, misses=section.misses)
    presence = thresholds.decide(score)
    if presence is Presence.PRESENT and not found.components:
        presence = Presence.INDETERMINATE
    scores = tuple(component_score(known.score, candidate) for candidate in found.components)
    return Decision(presence, score, known.p_value(score), known, scores)
