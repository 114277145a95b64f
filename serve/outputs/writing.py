"""Every output that was asked for, each whole or not at all."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import write_mask, write_text
from nnunet_losses.serve.formats.writing import replacing, write_volume

from .answered import Answered
from .dicom_seg import write_seg
from .installed import not_installed
from .kinds import ENDINGS, Options, Output, OutputKind, media_type_of
from .meshes import write_glb, write_stl
from .overlay import write_overlay
from .probabilities import write_probabilities
from .rtstruct import write_rtstruct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import ModelDescription


def write_outputs(
    kinds: Iterable[OutputKind | str],
    mask: NDArray[Any],
    image: Image,
    answer: Answer,
    description: ModelDescription,
    folder: Path,
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    probabilities: NDArray[np.float16] | None = None,
) -> list[Output]:
    """Write an answered case in each of the formats.

    Args:
        kinds: see ``OutputKind``; each is written once.
        mask: integers (z, y, x) on the image's own grid, as ``Predictor.predict`` gives it.
        image: what was segmented. What the reader turned is turned back.
        answer: the statement about it.
        description: of the model.
        folder: must exist.
        options: see ``Options``.
        probabilities: from ``mean_probabilities``, if they are asked for.

    Returns:
        The files, in the order of the kinds. A kind may give several (``stl``: one for each label), or none
        (``seg`` of an empty mask, with ``empty_seg = omit``; ``probabilities`` of a suppressed one).

    Raises:
        Refusal: ``output.unknown``; ``output.impossible``, this image has no such form;
            ``output.not_installed``. Nothing is left of the others then.
        OSError: the folder cannot be written to.
    """
    wanted = check_kinds(kinds)
    answered = Answered(mask, image, answer, description, options, folder, probabilities)
    outputs: list[Output] = []
    try:
        for kind in wanted:
            paths = _WRITERS[kind](answered)
            outputs += [Output(kind, path.name, path, media_type_of(path.name)) for path in paths]
    except BaseException:
        for output in outputs:
            output.path.unlink(missing_ok=True)
        raise
    return outputs


def check_kinds(kinds: Iterable[OutputKind | str]) -> list[OutputKind]:
    """Refuse what cannot be written, before any time is spent on it.

    Args:
        kinds: names of formats.

    Returns:
        Each kind once.

    Raises:
        Refusal: ``output.unknown``, or ``output.not_installed``.

    Example:
        >>> [kind.value for kind in check_kinds(["nifti", "report", "nifti"])]
        ['nifti', 'report']
    """
    return [_checked(name) for name in dict.fromkeys(str(kind) for kind in kinds)]


def _checked(name: str) -> OutputKind:
    if name not in {kind.value for kind in _WRITERS}:
        raise Refusal(
            Code.OUTPUT_UNKNOWN,
            f"There is no output {name[:40]!r}.",
            remedy=f"Ask for some of {', '.join(sorted(kind.value for kind in _WRITERS))}.",
            observed=name[:40],
            expected=sorted(kind.value for kind in _WRITERS),
        )
    kind = OutputKind(name)
    for library, extra in _NEEDS.get(kind, ()):
        if find_spec(library) is None:
            raise not_installed(library, extra)
    return kind


def _mask(answered: Answered) -> Sequence[Path]:
    path = answered.path(answered.description.file_ending)
    geometry, reader = answered.image.geometry, answered.description.reader
    write_mask(answered.mask, path, geometry=geometry, reader=reader)
    return [path]


def _volume(answered: Answered, kind: OutputKind) -> Sequence[Path]:
    path = answered.path(ENDINGS[kind])
    voxels, geometry = answered.own
    voxels = voxels.astype(np.uint8 if voxels.max() < 255 else np.uint16, copy=False)
    with replacing(path) as temporary:
        write_volume(voxels[0] if geometry.dimension == 2 else voxels, geometry, temporary)
    return [path]


def _report(answered: Answered) -> Sequence[Path]:
    path = answered.path(ENDINGS[OutputKind.REPORT])
    write_text(answered.answer.model_dump_json(indent=2) + "\n", path)
    return [path]


_DICOM = (("pydicom", "dicom"), ("highdicom", "dicom"))
_NEEDS: Mapping[OutputKind, Sequence[tuple[str, str]]] = {
    OutputKind.SEG: _DICOM,
    OutputKind.RTSTRUCT: _DICOM[:1],
    OutputKind.STL: (("zmesh", "mesh"),),
    OutputKind.GLB: (("zmesh", "mesh"),),
}
_WRITERS: Mapping[OutputKind, Callable[[Answered], Sequence[Path]]] = {
    OutputKind.MASK: _mask,
    OutputKind.NIFTI: lambda answered: _volume(answered, OutputKind.NIFTI),
    OutputKind.NRRD: lambda answered: _volume(answered, OutputKind.NRRD),
    OutputKind.MHA: lambda answered: _volume(answered, OutputKind.MHA),
    OutputKind.SEG: write_seg,
    OutputKind.RTSTRUCT: write_rtstruct,
    OutputKind.STL: write_stl,
    OutputKind.GLB: write_glb,
    OutputKind.PNG: write_overlay,
    OutputKind.PROBABILITIES: write_probabilities,
    OutputKind.REPORT: _report,
}
