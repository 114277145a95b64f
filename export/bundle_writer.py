"""Trained model folder -> bundle."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.bundle import DESCRIPTION, Bundle, file_sha256, write_sums
from nnunet_losses.serve.schema import Fold, Member, ModelDescription, Provenance

from . import description
from .bundle_files import whole_or_nothing
from .errors import ExportError
from .golden import write_golden
from .model_card import model_card
from .model_folder import DEFAULT_CHECKPOINT, read_model_folder
from .onnx_graph import OPSET, export_graph
from .refusals import plans_remark, refuse_unfaithful
from .training import training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .checkpoint import Checkpoint
    from .model_folder import ModelFolder
    from .onnx_graph import Graph

    Progress = Callable[[str], None]

CARD = "MODEL_CARD.md"
_COPIES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def export_bundle(
    model_folder: str | Path,
    bundle_path: str | Path,
    *,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = DEFAULT_CHECKPOINT,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Export a trained nnU-Net model to a bundle that needs neither PyTorch nor nnU-Net.

    Loading a checkpoint runs code that it may contain: only export checkpoints that you trust.

    Args:
        model_folder: ``…/Trainer__Plans__Configuration``.
        bundle_path: the bundle to write; a name that ends in ``.zip`` gives an archive.
        folds: by default all that are there.
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
        model = read_model_folder(model_folder, folds=folds, checkpoint=checkpoint)
        refuse_unfaithful(model)
        remark = plans_remark(model)
        if remark:
            report(remark)
        _write_content(model, folder, title, report)
        report("Checking the bundle")
        Bundle.load(folder)
    return target


def write_description(folder: Path, content: ModelDescription) -> None:
    """Write model.json, the model card, and the hashes of everything."""
    (folder / DESCRIPTION).write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(content), encoding="utf-8")
    write_sums(folder)


def _write_content(model: ModelFolder, folder: Path, name: str, report: Progress) -> None:
    member, network = _write_member(model, folder, name, report)
    report("Predicting the self-test's image with nnU-Net")
    content = ModelDescription(
        name=name,
        reader=model.plans["image_reader_writer"],
        file_ending=model.dataset["file_ending"],
        head=description.head(model),
        heads=model.labels.num_segmentation_heads,
        labels=description.labels(model),
        ignore_label=model.labels.ignore_label,
        members=(member,),
        training=training(model),
        fingerprint=description.fingerprint(model),
        golden=write_golden(model, network, folder),
        provenance=_provenance(),
    )
    write_description(folder, content)


def _write_member(model: ModelFolder, folder: Path, name: str, report: Progress) -> tuple[Member, Any]:
    """Export every fold; the first fold's network is returned for the self-test."""
    target = folder / "members" / model.first.configuration
    target.mkdir(parents=True)
    for file in _COPIES:
        if (model.path / file).is_file():
            (target / file).write_bytes((model.path / file).read_bytes())
    first, graphs = None, []
    for checkpoint in model.checkpoints:
        report(f"Exporting fold {checkpoint.fold}")
        network = model.network(checkpoint)
        first = first or network
        graphs.append(_export_fold(model, network, target / f"fold_{checkpoint.fold}.onnx", checkpoint, name))
    return _member(model, folder, graphs), first


def _export_fold(model: ModelFolder, network: Any, path: Path, checkpoint: Checkpoint, name: str) -> Graph:
    return export_graph(
        network,
        path,
        channels=len(model.channel_names),
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


def _member(model: ModelFolder, folder: Path, graphs: list[Graph]) -> Member:
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
        name=model.first.configuration,
        folds=folds,
        preprocessing=description.preprocessing(model),
        tiling=description.tiling(model),
        features=graphs[0].features,
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
