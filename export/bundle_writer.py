"""Trained model folder -> bundle."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Fold, Member, ModelDescription, Provenance

from . import description
from .bundle_files import whole_or_nothing, write_checksums
from .checkpoint import file_sha256
from .golden import write_golden
from .model_card import model_card
from .model_folder import DEFAULT_CHECKPOINT, ModelFolder, read_model_folder
from .onnx_graph import OPSET, Graph, export_graph
from .refusals import refuse_unfaithful
from .training import training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .checkpoint import Checkpoint

    Progress = Callable[[str], None]

_COPIES = ("plans.json", "dataset.json", "dataset_fingerprint.json")


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
        name: the model's name; by default the bundle's file name.
        overwrite: replace an existing bundle.
        progress: called with a sentence before every step.

    Returns:
        The bundle's path.

    Raises:
        ExportRefused: the model cannot be carried over faithfully; all reasons are named.
        ExportError: the folder is incomplete, the target exists, or a check of the graph failed.
    """
    target, report = Path(bundle_path), progress or _silent
    title = name or _default_name(target)
    report("Reading the model folder")
    model = read_model_folder(model_folder, folds=folds, checkpoint=checkpoint)
    refuse_unfaithful(model)
    with whole_or_nothing(target, overwrite=overwrite) as folder:
        _write_content(model, folder, title, report)
    return target


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


def write_description(folder: Path, content: ModelDescription) -> None:
    """Write model.json, the model card, and the checksums of everything."""
    (folder / "model.json").write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card(content), encoding="utf-8")
    write_checksums(folder)


def _write_member(model: ModelFolder, folder: Path, name: str, report: Progress) -> tuple[Member, Any]:
    """Export every fold; the first fold's network is returned for the self-test."""
    configuration = model.first.configuration
    target = folder / "members" / configuration
    target.mkdir(parents=True)
    for file in _COPIES:
        if (model.path / file).is_file():
            (target / file).write_bytes((model.path / file).read_bytes())
    networks, folds = [], []
    for checkpoint in model.checkpoints:
        report(f"Exporting fold {checkpoint.fold}")
        network = model.network(checkpoint)
        graph = _export_fold(model, network, checkpoint, target, name)
        networks = networks or [network]
        folds.append(_fold(checkpoint, graph, folder))
    return (
        Member(
            name=configuration,
            folds=tuple(folds),
            preprocessing=description.preprocessing(model),
            tiling=description.tiling(model),
            features=graph.features,
        ),
        networks[0],
    )


def _export_fold(model: ModelFolder, network: Any, checkpoint: Checkpoint, target: Path, name: str) -> Graph:
    return export_graph(
        network,
        target / f"fold_{checkpoint.fold}.onnx",
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


def _fold(checkpoint: Checkpoint, graph: Graph, folder: Path) -> Fold:
    return Fold(
        name=checkpoint.fold,
        file=graph.path.relative_to(folder).as_posix(),
        sha256=file_sha256(graph.path),
        checkpoint_sha256=checkpoint.sha256,
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


def _default_name(target: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", target.name.removesuffix(".zip")).strip(".-") or "model"


def _silent(_: str) -> None:
    """Report nothing."""
