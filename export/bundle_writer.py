"""Trained model folder -> bundle."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.bundle import DESCRIPTION, Bundle, file_sha256, write_sums
from nnunet_losses.serve.calibration.card import calibrated_card
from nnunet_losses.serve.safety.stored import load_calibration
from nnunet_losses.serve.schema import Fold, Member, ModelDescription, Provenance

from . import description
from .bundle_files import whole_or_nothing
from .errors import ExportError
from .golden import write_golden
from .members import gather_members, refuse_disagreement
from .model_card import model_card
from .model_folder import DEFAULT_CHECKPOINT
from .onnx_graph import OPSET, export_graph
from .orientation import training_orientation
from .postprocessing import read_postprocessing, refuse_postprocessing
from .refusals import plans_remark
from .training import joint_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnunet_losses.serve.schema import KeepLargest

    from .checkpoint import Checkpoint
    from .members import MemberFolder
    from .model_folder import ModelFolder
    from .onnx_graph import Graph

    Progress = Callable[[str], None]

CARD = "MODEL_CARD.md"
_COPIES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def export_bundle(  # noqa: PLR0913 - the command's options, by keyword
    model_folders: str | Path | Sequence[str | Path],
    bundle_path: str | Path,
    *,
    previous_stage: str | Path | None = None,
    postprocessing: str | Path | None = None,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = DEFAULT_CHECKPOINT,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Export a trained nnU-Net model to a bundle that needs neither PyTorch nor nnU-Net.

    Several model folders make an ensemble: their probabilities are averaged, as ``nnUNetv2_ensemble`` does.
    The second stage of a cascade takes its previous stage into the bundle.

    Loading a checkpoint runs code that it may contain: only export checkpoints that you trust.

    Args:
        model_folders: ``…/Trainer__Plans__Configuration``, one or several.
        bundle_path: the bundle to write; a name that ends in ``.zip`` gives an archive.
        previous_stage: model folder of a cascade's previous stage; by default the one that lies where nnU-Net
            puts it.
        postprocessing: ``postprocessing.pkl`` or ``postprocessing.json`` of nnU-Net, applied to every mask.
        folds: of every model folder; by default all that are there.
        checkpoint: which checkpoint file of each fold.
        name: the model's name (letters, digits, ``.``, ``_``, ``-``); by default made of the bundle's name.
        overwrite: replace an existing bundle.
        progress: called with a sentence before every step.

    Returns:
        The bundle's path.

    Raises:
        ExportRefused: the model cannot be carried over faithfully; all reasons are named.
        ExportError: the folder is incomplete, the target exists, or a check of the result failed.
    """
    target, report = Path(bundle_path), progress or (lambda _: None)
    title = _checked_name(name) if name is not None else _default_name(target)
    with whole_or_nothing(target, overwrite=overwrite) as folder:
        report("Reading the model folder")
        steps = read_postprocessing(postprocessing) if postprocessing else ()
        refuse_postprocessing(steps)
        members = gather_members(
            _listed(model_folders), previous_stage=previous_stage, folds=folds, checkpoint=checkpoint
        )
        refuse_disagreement(members)
        for remark in filter(None, (plans_remark(member.model) for member in members)):
            report(remark)
        _write_content(members, steps, folder, title, report)
        report("Checking the bundle")
        Bundle.load(folder)
    return target


def write_description(folder: Path, content: ModelDescription) -> None:
    """Write model.json, the model card, and the hashes of everything."""
    (folder / DESCRIPTION).write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    card, calibration = model_card(content), load_calibration(folder, content)
    if calibration is not None:
        card = calibrated_card(card, calibration.calibration)
    (folder / CARD).write_text(card, encoding="utf-8")
    write_sums(folder)


def _listed(folders: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [folders] if isinstance(folders, str | Path) else list(folders)


def _write_content(
    members: Sequence[MemberFolder], steps: Sequence[KeepLargest], folder: Path, name: str, report: Progress
) -> None:
    written = tuple(_write_member(member, folder, name, report) for member in members)
    report("Predicting the self-test's image with nnU-Net")
    model = members[0].model
    content = ModelDescription(
        name=name,
        reader=model.plans["image_reader_writer"],
        file_ending=model.dataset["file_ending"],
        head=description.head(model),
        heads=model.labels.num_segmentation_heads,
        labels=description.labels(model),
        ignore_label=model.labels.ignore_label,
        members=written,
        postprocessing=tuple(steps),
        training=joint_training([member.model for member in members if member.averaged]),
        fingerprint=description.fingerprint(model),
        orientation=training_orientation(model.plans["dataset_name"], model.dataset["file_ending"]),
        golden=write_golden(members, steps, folder),
        provenance=_provenance(),
    )
    write_description(folder, content)


def _write_member(part: MemberFolder, folder: Path, name: str, report: Progress) -> Member:
    """Export every fold."""
    model, target = part.model, folder / "members" / part.name
    target.mkdir(parents=True)
    for file in _COPIES:
        if (model.path / file).is_file():
            (target / file).write_bytes((model.path / file).read_bytes())
    graphs = []
    for checkpoint in model.checkpoints:
        report(f"Exporting fold {checkpoint.fold} of {part.name}")
        network = model.network(checkpoint)
        graphs.append(_export_fold(model, network, target / f"fold_{checkpoint.fold}.onnx", checkpoint, name))
    return _member(part, folder, graphs)


def _export_fold(model: ModelFolder, network: Any, path: Path, checkpoint: Checkpoint, name: str) -> Graph:
    return export_graph(
        network,
        path,
        channels=model.input_channels,
        patch_size=tuple(int(size) for size in model.configuration.patch_size),
        identity={
            "model": name,
            "configuration": checkpoint.configuration,
            "fold": checkpoint.fold,
            "trainer": checkpoint.trainer,
            "checkpoint_sha256": checkpoint.sha256,
            "plans_sha256": file_sha256(model.path / "plans.json"),
            "exporter": f"nnunet-losses {version('nnunet-losses')}",
        },
    )


def _member(part: MemberFolder, folder: Path, graphs: list[Graph]) -> Member:
    model = part.model
    folds = tuple(
        Fold(
            name=checkpoint.fold,
            file=graph.path.relative_to(folder).as_posix(),
            sha256=file_sha256(graph.path),
            checkpoint_sha256=checkpoint.sha256,
        )
        for checkpoint, graph in zip(model.checkpoints, graphs, strict=True)
    )
    return Member(
        name=part.name,
        folds=folds,
        preprocessing=description.preprocessing(model),
        tiling=description.tiling(model),
        features=graphs[0].features,
        previous_stage=part.previous,
        averaged=part.averaged,
    )


def _provenance() -> Provenance:
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        exporter=version("nnunet-losses"),
        nnunetv2=version("nnunetv2"),
        torch=version("torch"),
        onnx=version("onnx"),
        opset=OPSET,
    )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"The name {name!r} cannot stand in an address: use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, at most 100."
        )
    return name


def _default_name(target: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", target.name.removesuffix(".zip"))
    return plain.strip("._-")[:100] or "model"
