"""Records on disk, so that an interrupted calibration goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from nnunet_losses.serve.safety.candidates import LabelCandidates
from nnunet_losses.serve.safety.scores.observation_arrays import (
    observation_from_arrays,
    observation_to_arrays,
)
from nnunet_losses.serve.safety.scores.score import nested, unnested
from nnunet_losses.serve.safety.stored import identity_of, packed, unpacked

from .contents import contents_sha256
from .records import CaseRecord, Kind, Role

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    from .planning import Planned

STATE = "state.json"


@dataclass(frozen=True)
class RecordStore:
    """A folder of records that belong to one bundle and one way to run it.

    Attributes:
        folder: is made when it is needed.
        state: what all records have in common; records of anything else are thrown away.
    """

    folder: Path
    state: str

    @classmethod
    def open(
        cls, folder: Path, description: ModelDescription, engine: tuple[str, str], *, compares: bool = False
    ) -> RecordStore:
        """Open a folder, and empty it where it holds records of another bundle, engine or version.

        Args:
            folder: of the records.
            description: of the bundle.
            engine: provider and precision.
            compares: whether passes and folds are compared.

        Raises:
            OSError: it cannot be written to.
        """
        content: dict[str, Any] = {
            "identity": identity_of(description).model_dump(mode="json"),
            "engine": engine,
            "version": version("nnunet-losses"),
        }
        if compares:
            content["compares"] = True
        store = cls(folder, json.dumps(content, sort_keys=True, indent=1))
        present = folder / STATE
        if folder.exists() and not (present.is_file() and present.read_text(encoding="utf-8") == store.state):
            store.remove()
        folder.mkdir(parents=True, exist_ok=True)
        present.write_text(store.state, encoding="utf-8")
        return store

    def remove(self) -> None:
        """Delete the records.

        Raises:
            OSError: for a folder with something else in it.
        """
        is_ours = (self.folder / STATE).is_file()  # it is written before the first record
        present = list(self.folder.iterdir())
        strangers = [
            path for path in present if path.name != STATE and not (is_ours and path.suffix == ".npz")
        ]
        if strangers:
            raise OSError(
                f"{self.folder} holds {strangers[0].name}, which is no record; choose another folder"
            )
        shutil.rmtree(self.folder)

    def load(self, planned: Planned) -> CaseRecord | None:
        """Return the record of a case whose files are unchanged; None where there is none."""
        path = self.folder / f"{_key(planned)}.npz"
        if not path.is_file():
            return None
        try:
            return _from_arrays(planned, unpacked(path.read_bytes()))
        except (ValueError, KeyError, BadZipFile, EOFError):
            return None  # a torn or older file: the case is run again

    def save(self, planned: Planned, record: CaseRecord) -> None:
        """Keep a record; there is never half of one."""
        path = self.folder / f"{_key(planned)}.npz"
        scratch = path.with_suffix(".new.npz")
        scratch.write_bytes(packed(_to_arrays(record)))
        scratch.replace(path)


def _key(planned: Planned) -> str:
    """Name for a case's record: its files' contents, and who looked at them."""
    files = [*planned.case.files, *([] if planned.label is None else [planned.label])]
    parts = [contents_sha256(file) for file in files]
    parts += [planned.case.name, str(planned.fold), planned.role.value, str(planned.is_negative)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _to_arrays(record: CaseRecord) -> dict[str, NDArray[Any]]:
    meta = {
        "kind": record.kind.value,
        "input_sha256": record.input_sha256,
        "candidates": [label.model_dump(mode="json") for label in record.candidates],
    }
    arrays = nested("observation", observation_to_arrays(record.observation))
    return arrays | nested("tiles", record.tiles or {}) | {"meta": np.array(json.dumps(meta))}


def _from_arrays(planned: Planned, arrays: dict[str, NDArray[Any]]) -> CaseRecord:
    meta = json.loads(str(arrays["meta"]))
    return CaseRecord(
        name=planned.case.name,
        group=planned.group,
        fold=planned.fold,
        kind=Kind(meta["kind"]),
        role=Role(planned.role),
        input_sha256=meta["input_sha256"],
        observation=observation_from_arrays(unnested("observation", arrays)),
        candidates=tuple(LabelCandidates.model_validate(label) for label in meta["candidates"]),
        tiles=unnested("tiles", arrays) or None,
    )
