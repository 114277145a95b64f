"""How good masks are, with named conventions for empty ones."""

from .case import CaseResult, LabelResult, Settings, evaluate_case, evaluate_masks
from .conventions import CONVENTIONS, Convention, Emptiness, Metric
from .folders import Evaluation, Options, evaluate_folders
from .intervals import Bootstrap, Estimate, auroc, share
from .labels import Label, LabelSet
from .lesions import Connectivity, Matching
from .pairs import NotComparableError, Problem
from .summary import LabelSummary, SizeBin, summarise

__all__ = [
    "CONVENTIONS",
    "Bootstrap",
    "CaseResult",
    "Connectivity",
    "Convention",
    "Emptiness",
    "Estimate",
    "Evaluation",
    "Label",
    "LabelResult",
    "LabelSet",
    "LabelSummary",
    "Matching",
    "Metric",
    "NotComparableError",
    "Options",
    "Problem",
    "Settings",
    "SizeBin",
    "auroc",
    "evaluate_case",
    "evaluate_folders",
    "evaluate_masks",
    "share",
    "summarise",
]
