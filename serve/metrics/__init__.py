"""How good masks are, with named conventions for empty ones."""

from .case import CaseResult, LabelResult, Settings, evaluate_case, evaluate_masks
from .conventions import CONVENTIONS, Convention, Emptiness, Metric
from .intervals import Bootstrap, Estimate, auroc, share
from .labels import Label, LabelSet
from .lesions import Connectivity, Matching

__all__ = [
    "CONVENTIONS",
    "Bootstrap",
    "CaseResult",
    "Connectivity",
    "Convention",
    "Emptiness",
    "Estimate",
    "Label",
    "LabelResult",
    "LabelSet",
    "Matching",
    "Metric",
    "Settings",
    "auroc",
    "evaluate_case",
    "evaluate_masks",
    "share",
]
