"""DICOM SEG, made by highdicom: one segment for each label of the model."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.formats.writing import replacing
from nnunet_losses.serve.schema import Head

from .colours import colour
from .dicom_source import MANUFACTURER, frame_order, import_library, series_of, source_images, version
from .kinds import ENDINGS, EmptySeg, OutputKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import Label

    from .answered import Answered

SERIES_NUMBER = 9100
LESION_WORDS = (
    "tumor",
    "tumour",
    "lesion",
    "cancer",
    "metastas",
    "polyp",
    "edema",
    "oedema",
    "necro",
    "nodule",
)


def write_seg(answered: Answered) -> Sequence[Path]:
    """Write the mask as segments (BINARY) of the series that it is about.

    Nothing marked: with ``empty_seg = emit`` all frames are written, all zero, with all segments listed.

    Raises:
        Refusal: the image was no DICOM series, or highdicom is not installed.
    """
    _, geometry = answered.own
    is_empty = not any(inside.any() for _, _, inside in answered.labels())
    if is_empty and answered.options.empty_seg is EmptySeg.OMIT:
        return []
    hd = import_library("highdicom")
    series = series_of(answered)
    images, order = source_images(series, geometry), frame_order(series)
    pixels = _pixels(answered)
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # that a mask is empty is said in the answer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would print the patient's name
        segmentation = hd.seg.Segmentation(
            source_images=images,
            pixel_array=pixels if order is None else pixels[order],
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(hd, answered, i, label) for i, label, _ in answered.labels()],
            series_instance_uid=answered.uid("seg series"),
            series_number=SERIES_NUMBER,
            sop_instance_uid=answered.uid("seg"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=version(),
            device_serial_number="1",
            content_description=answered.statement,
            omit_empty_frames=not is_empty,
        )
    segmentation.SeriesDescription = f"{answered.description.name} segmentation"[:64]
    path = answered.path(ENDINGS[OutputKind.SEG])
    with replacing(path) as temporary:
        segmentation.save_as(temporary)
    return [path]


def _pixels(answered: Answered) -> NDArray[np.uint8]:
    """(slices, rows, columns) with segment numbers, or (..., segments) where labels may overlap."""
    if answered.description.head is Head.SOFTMAX:
        mask, _ = answered.own
        numbers = np.zeros(mask.shape, np.uint8 if len(answered.description.labels) < 256 else np.uint16)
        for index, _, inside in answered.labels():
            numbers[inside] = index + 1
        return numbers
    return np.stack([inside.astype(np.uint8) for _, _, inside in answered.labels()], axis=-1)


def _segment(hd: Any, answered: Answered, index: int, label: Label) -> Any:
    codes = import_library("pydicom.sr.codedict").codes
    algorithm = hd.AlgorithmIdentificationSequence(
        name=answered.description.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=answered.answer.manifest.bundle_sha256[:64],
        source=MANUFACTURER,
    )
    category, kind = _property(hd, label.name)
    return hd.seg.SegmentDescription(
        segment_number=index + 1,
        segment_label=label.name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=answered.uid(f"segment {index}"),
        tracking_id=label.name[:64],
        display_color=hd.color.CIELabColor.from_rgb(*colour(index)),
    )


def _property(hd: Any, name: str) -> tuple[Any, Any]:
    """What a label is, as far as its name tells; nnU-Net's labels have no codes."""
    if any(word in name.casefold() for word in LESION_WORDS):
        altered = hd.sr.CodedConcept("49755003", "SCT", "Morphologically Altered Structure")
        return altered, hd.sr.CodedConcept("52988006", "SCT", "Lesion")
    anatomical = hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    return anatomical, anatomical
