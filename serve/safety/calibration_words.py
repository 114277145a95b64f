"""A calibration in rows of a table, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conformal import cases_for
from .verdict import largest_p

if TYPE_CHECKING:
    from .calibration import Calibration, DistributionSection, SiteOverlay


def calibration_rows(calibration: Calibration, site: SiteOverlay | None) -> list[tuple[str, str]]:
    """Name and value of everything that a person wants to know.

    Args:
        calibration: of a bundle.
        site: that lies over it.
    """
    counts = calibration.counts
    cases = (
        f"{counts.ranked} new to the model ({counts.lesion_bearing} with something to find, "
        f"{counts.lesion_free} without, {counts.unlabelled} unknown), {counts.fitted} trained with, "
        f"{counts.outliers} known outliers, {counts.set_aside} set aside, {counts.refused} refused"
    )
    made = f"{calibration.created} on {calibration.provider}, {calibration.precision}"
    rows = [("calibrated", made), ("cases", cases)]
    if calibration.distribution is not None:
        rows += _distribution(calibration.distribution)
    if calibration.presence is not None and calibration.presence.labels:
        labels = ", ".join(
            f"{label.label} ({label.guarantee.value})" for label in calibration.presence.labels
        )
        rows.append(("presence", labels))
    if calibration.quality is not None:
        rows.append(("expected Dice", f"from {calibration.quality.n} cases"))
    if site is not None:
        rows.append(
            ("site", f"{site.name}: ranked against its {site.n} images instead, since {site.created}")
        )
    return rows


def _distribution(section: DistributionSection) -> list[tuple[str, str]]:
    said = f"{section.guarantee.value}, n = {section.n}"
    rows = [("like the known images", f"{said}. {section.remark}" if section.remark else said)]
    for name, level in section.levels:
        limit = largest_p(section.n, level, section.pac)
        reach = (
            f"at most {level:g} of usual images"
            if limit is not None
            else f"{level:g}: {_missing(section, level)}"
        )
        rows.append((name.replace("_", " "), reach))
    return rows


def _missing(section: DistributionSection, level: float) -> str:
    needed = "" if section.pac is not None else f" (needs {cases_for(level)})"
    return f"not reachable with {section.n} cases{needed}; by rule of thumb instead"
