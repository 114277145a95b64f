"""The formats that a job orders beside nnU-Net's own."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from ..dicom_options import DicomOptions
from ..outputs import Options, Output, OutputKind, write_outputs
from ..outputs.probabilities import mean_probabilities
from ..pipeline.segment import Votes
from .engine import ANSWER, MASK, ResultFile

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from ..answer import Answer
    from ..result_files import Prediction
    from ..schema import ModelDescription
    from .engine import Order

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


class Converter:
    """Writes what an order wants of one case. To be made before the prediction is concluded.

    Args:
        order: what is wanted.
        votes: what the networks said; probabilities are taken from it, if they are wanted.
        description: of the model.
    """

    def __init__(self, order: Order, votes: Any, description: ModelDescription) -> None:
        self._kinds = [kind for kind in order.outputs if kind not in {ANSWER, MASK}]
        self._description = description
        wishes = DicomOptions.of(order.options)
        self._options = Options(empty_seg=wishes.empty_seg, identity=order.identity)
        self._probabilities: NDArray[np.float16] | None = None
        if OutputKind.PROBABILITIES in self._kinds and isinstance(votes, Votes):
            self._probabilities = mean_probabilities(votes, description)

    def write(self, prediction: Prediction, answer: Answer, folder: Path) -> dict[str, ResultFile]:
        """Write the files; a rejected case has none.

        Raises:
            Refusal: this image cannot be given in such a format.
        """
        if prediction.mask is None or prediction.image is None or not self._kinds:
            return {}
        target = folder / "outputs"
        target.mkdir()
        outputs = write_outputs(
            self._kinds,
            prediction.mask,
            prediction.image,
            answer,
            self._description,
            target,
            self._options,
            probabilities=self._probabilities,
        )
        return named(outputs)


def named(outputs: list[Output]) -> dict[str, ResultFile]:
    """Name files after their kind; where one has several, after their file names, too.

    Example:
        >>> from pathlib import Path
        >>> files = [Output(OutputKind.STL, f"a.label_{i}.stl", Path("."), "model/stl") for i in (1, 2)]
        >>> list(named(files))
        ['stl-label_1', 'stl-label_2']
    """
    times = Counter(output.kind for output in outputs)
    return {
        output.kind.value if times[output.kind] == 1 else _long_name(output): ResultFile(
            output.path, output.media_type
        )
        for output in outputs
    }


def _long_name(output: Output) -> str:
    pieces = output.name.lower().split(".")
    said = pieces[1] if len(pieces) > 2 else pieces[0]
    return f"{output.kind.value}-{_NOT_IN_NAMES.sub('_', said)[:40]}"
