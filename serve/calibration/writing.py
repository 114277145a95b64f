"""A calibration's way into its bundle, and out of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle_writing import changed_bundle, write_new
from nnunet_losses.serve.safety.calibration import CALIBRATION, CALIBRATION_ARRAYS, SITE, SITE_ARRAYS

from .card import CARD, FIGURES, calibrated_card
from .errors import CalibrationError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.safety.calibration import Calibration, SiteOverlay


def write_calibration(target: Path, bundle: Bundle, calibration: Calibration, arrays: bytes) -> None:
    """Store a calibration in its bundle, with model card and hashes, in one step; an overlay of a site goes.

    Args:
        target: the bundle: a folder, or a zip file.
        bundle: loaded from there.
        calibration: of the bundle.
        arrays: that belong to it.

    Raises:
        CalibrationError: nothing can be written beside the bundle.
        Refusal: the calibration does not belong to the bundle.
    """
    files = {CALIBRATION: _json(calibration), CALIBRATION_ARRAYS: arrays}
    figures = {name: draw(calibration).encode() for name, draw in FIGURES.items()}
    _change(target, bundle, {**files, **figures}, card=calibration, drop=(SITE, SITE_ARRAYS))


def write_site(target: Path, bundle: Bundle, site: SiteOverlay, arrays: bytes) -> None:
    """Lay a site's cases over a bundle's calibration, in one step.

    Raises:
        CalibrationError: nothing can be written beside the bundle.
    """
    _change(target, bundle, {SITE: _json(site), SITE_ARRAYS: arrays})


def remove_site(target: Path, bundle: Bundle) -> None:
    """Take a site's cases away again: the calibration is as it was.

    Raises:
        CalibrationError: there are none, or nothing can be written beside the bundle.
    """
    if bundle.calibration is None or bundle.calibration.site is None:
        raise CalibrationError("The bundle has no cases of a site that could be removed.")
    _change(target, bundle, {}, drop=(SITE, SITE_ARRAYS))


def calibration_hash(bundle: Bundle) -> str:
    """SHA-256 of a bundle's ``calibration.json``."""
    return hashlib.sha256(bundle.file(CALIBRATION).read_bytes()).hexdigest()


def _json(content: BaseModel) -> bytes:
    return (content.model_dump_json(indent=2) + "\n").encode()


def _change(
    target: Path,
    bundle: Bundle,
    files: dict[str, bytes],
    *,
    card: Calibration | None = None,
    drop: tuple[str, ...] = (),
) -> None:
    try:
        with changed_bundle(target, bundle) as folder:
            for name, content in files.items():
                write_new(folder / name, content)
            for name in drop:
                (folder / name).unlink(missing_ok=True)
            if card is not None and (folder / CARD).is_file():
                text = (folder / CARD).read_text(encoding="utf-8")
                write_new(folder / CARD, calibrated_card(text, card).encode())
    except OSError as error:
        raise CalibrationError(f"{target.name} cannot be changed: {error}.") from error
