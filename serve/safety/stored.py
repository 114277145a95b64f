"""A bundle's calibration on disk: read, checked against the bundle, and written."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from nnunet_losses.serve.errors import Code, Refusal

from .calibration import (
    CALIBRATION,
    CALIBRATION_ARRAYS,
    SITE,
    SITE_ARRAYS,
    Calibration,
    DistributionSection,
    GuaranteeKind,
    Identity,
    SiteOverlay,
)
from .distribution import DistributionModel, FoldScores
from .scores.robust import Usual
from .scores.score import nested, unnested
from .scores.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    Arrays = Mapping[str, NDArray[Any]]

# what in model.json changes an answer; a report of parity, or a variant, does not
_MEANING = ("reader", "head", "heads", "labels", "ignore_label", "postprocessing")
_MEMBER = ("name", "preprocessing", "tiling", "features", "previous_stage", "averaged")


@dataclass(frozen=True, eq=False)
class StoredCalibration:
    """A bundle's calibration, and the overlay of a site, if there is one.

    Attributes:
        calibration: ``calibration.json``.
        root: the bundle's folder.
        site: ``site.json``.
    """

    calibration: Calibration
    root: Path
    site: SiteOverlay | None = None

    @cached_property
    def model(self) -> DistributionModel | None:
        """What verdicts are made with; read when it is first needed. None where nothing was calibrated.

        Raises:
            Refusal: BUNDLE_HASH_MISMATCH for other arrays than were written with it, BUNDLE_UNSUPPORTED for
                such as this version does not understand.
        """
        section = self.calibration.distribution
        if section is None:
            return None
        arrays = _read_arrays(self.root / CALIBRATION_ARRAYS, self.calibration.identity.arrays)
        try:
            model = model_from_arrays(section, arrays)
            return model if self.site is None else self._at_site(model, self.site)
        except (KeyError, ValueError, TypeError) as error:
            raise _unsupported(f"{CALIBRATION_ARRAYS} is not understood: {error}") from error

    def _at_site(self, model: DistributionModel, site: SiteOverlay) -> DistributionModel:
        pools = _read_arrays(self.root / SITE_ARRAYS, site.arrays)
        return with_site(model, site, pools["pool_0"])


def with_site(model: DistributionModel, site: SiteOverlay, pool: NDArray[Any]) -> DistributionModel:
    """Rank against a site's own cases in place of the calibration cases.

    With several folds every case of the site is scored by each of them. Ranked fold by fold it would count
    several times; so the first fold's scores stand for all.
    """
    remark = f"Ranked against {site.n} local cases of {site.name}, of which nobody said that they are usual."
    # the cases trained no network, and what was approximate for that reason is so no more
    changes = {
        "n": site.n,
        "refused": site.refused,
        "learnt": site.learnt,
        "remark": remark,
        "guarantee": GuaranteeKind.CONFORMAL,
        "folds": (model.section.folds[0].model_copy(update={"ranked": site.n - site.refused}),),
    }
    first = replace(model.folds[0], pool=pool)
    return DistributionModel(model.section.model_copy(update=changes), (first,))


def load_calibration(root: Path, description: ModelDescription) -> StoredCalibration | None:
    """Read a bundle's calibration.

    Args:
        root: the bundle's folder.
        description: of its model, as it was exported.

    Returns:
        None for a bundle that was not calibrated.

    Raises:
        Refusal: BUNDLE_HASH_MISMATCH for a calibration of another model, BUNDLE_UNSUPPORTED for one that this
            version does not understand.
    """
    if not (root / CALIBRATION).is_file():
        return None
    calibration = _read(root / CALIBRATION, Calibration)
    _check_identity(calibration.identity, description)
    if not (root / SITE).is_file():
        return StoredCalibration(calibration, root)
    site = _read(root / SITE, SiteOverlay)
    if site.calibration != _sha256((root / CALIBRATION).read_bytes()):
        raise _mismatch(f"{SITE} lies over another calibration.", "nnunet-losses recalibrate BUNDLE --remove")
    return StoredCalibration(calibration, root, site)


def identity_of(description: ModelDescription) -> Identity:
    """What a calibration of this model belongs to; its other fields are left open."""
    networks = {fold.file: fold.sha256 for member in description.members for fold in member.folds}
    # without defaults: a field that a later version adds changes nothing that was said before
    plain = description.model_dump(mode="json", exclude_defaults=True)
    meaning = {name: plain.get(name) for name in _MEANING}
    meaning["members"] = [{name: member.get(name) for name in _MEMBER} for member in plain["members"]]
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return Identity(networks=networks, preprocessing=_sha256(text.encode()))


def model_arrays(model: DistributionModel) -> dict[str, NDArray[Any]]:
    """Everything that was fitted, without objects.

    Raises:
        TypeError: for scores of another class than ``Scorer``.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for index, fold in enumerate(model.folds):
        if not isinstance(fold.scorer, Scorer):
            raise TypeError(f"{type(fold.scorer).__name__} cannot be stored; expected Scorer")
        own = {**nested("scorer", fold.scorer.to_arrays()), "pool": fold.pool}
        for name, usual in (("usual", fold.usual), ("strangest", fold.strangest)):
            own |= {} if usual is None else nested(name, usual.to_arrays())
        arrays |= nested(f"fold_{index}", own)
    return arrays


def model_from_arrays(section: DistributionSection, arrays: Arrays) -> DistributionModel:
    """Rebuild the very same model from ``model_arrays``.

    Raises:
        KeyError: an array is missing.
        ValueError: arrays and section contradict each other.
    """
    folds = tuple(_fold(unnested(f"fold_{index}", arrays)) for index in range(len(section.folds)))
    if any(fold.scorer.names != section.scores for fold in folds):
        raise ValueError("the scores have other names than the section lists")
    if sum(len(fold.pool) for fold in folds) + section.refused != section.n:
        raise ValueError(f"there are not the {section.n} ranked cases that the section counts")
    return DistributionModel(section, folds)


def _fold(arrays: Arrays) -> FoldScores:
    usual, strangest = (unnested(name, arrays) for name in ("usual", "strangest"))
    return FoldScores(
        Scorer.from_arrays(unnested("scorer", arrays)),
        arrays["pool"],
        Usual.from_arrays(usual) if usual else None,
        Usual.from_arrays(strangest) if strangest else None,
    )


def packed(arrays: Arrays) -> bytes:
    """One compressed ``.npz``, without pickled objects."""
    stream = io.BytesIO()
    content: dict[str, Any] = dict(arrays)
    np.savez_compressed(stream, **content)
    return stream.getvalue()


def unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    """Read what ``packed`` made.

    Raises:
        ValueError: for pickled objects.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_arrays(path: Path, expected: str) -> dict[str, NDArray[Any]]:
    content = path.read_bytes() if path.is_file() else b""
    if _sha256(content) != expected:
        raise _mismatch(f"{path.name} is not the file that was written with its calibration.")
    try:
        return unpacked(content)
    except (ValueError, OSError) as error:
        raise _unsupported(f"{path.name} holds no arrays: {error}") from error


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise _unsupported(f"{path.name}, {field or 'content'}: {fault['msg']}") from error


def _check_identity(known: Identity, description: ModelDescription) -> None:
    present = identity_of(description)
    if known.networks != present.networks:
        changed = min(set(known.networks.items()) ^ set(present.networks.items()))[0]
        raise _mismatch(f"The calibration was made with another network: {changed}.")
    if known.preprocessing != present.preprocessing:
        raise _mismatch(
            "The calibration was made with other preprocessing, labels or tiles than model.json has."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mismatch(detail: str, command: str = "nnunet-losses calibrate") -> Refusal:
    return Refusal(
        Code.BUNDLE_HASH_MISMATCH,
        detail,
        remedy=f"Run {command}; or delete {CALIBRATION}, {CALIBRATION_ARRAYS} and their lines in SHA256SUMS.",
        observed=CALIBRATION,
    )


def _unsupported(detail: str) -> Refusal:
    return Refusal(
        Code.BUNDLE_UNSUPPORTED,
        detail.removesuffix(".") + ".",
        remedy="Update nnunet-losses, or run nnunet-losses calibrate again with this version.",
    )
