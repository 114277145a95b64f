"""Procedural images with known answers: for tests, demonstrations, and studies of calibration and honesty.

A phantom is a body with one organ in it, and 0 to k lesions in the organ; texture, bias field and noise lie
over it, and blobs outside the organ look like lesions without being any.

Example:
    >>> case = make_case(Phantom(lesions=(2, 2)), seed=1)
    >>> len(case.lesions), case.labels.dtype.name, sorted(set(case.labels.ravel().tolist()))
    (2, 'uint8', [0, 1, 2])
"""

from __future__ import annotations

from .phantom_drawing import make_case
from .phantom_files import case_seed, lesion_free_cases, write_case, write_dataset
from .phantom_settings import Case, Lesion, Phantom

__all__ = [
    "Case",
    "Lesion",
    "Phantom",
    "case_seed",
    "lesion_free_cases",
    "make_case",
    "write_case",
    "write_dataset",
]
