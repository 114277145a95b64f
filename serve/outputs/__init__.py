"""An answered case to files of whatever format was asked for."""

from .kinds import Options, Output, OutputKind, media_type_of
from .probabilities import mean_probabilities
from .writing import check_kinds, write_outputs

__all__ = [
    "Options",
    "Output",
    "OutputKind",
    "check_kinds",
    "mean_probabilities",
    "media_type_of",
    "write_outputs",
]
