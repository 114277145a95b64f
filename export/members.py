"""Which model folders make one bundle: an ensemble's configurations, and the previous stages of cascades."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ExportRefused, ModelFolderError, Reason
from .model_folder import DEFAULT_CHECKPOINT, ModelFolder, read_model_folder
from .refusals import refuse_unfaithful

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, eq=False)
class MemberFolder:
    """A model folder in its part.

    Attributes:
        name: of the member in the bundle.
        model: the folder.
        previous: name of the member whose mask this one takes as input; None outside of cascades.
        averaged: whether its probabilities make the answer; else it only serves as a previous stage.
    """

    name: str
    model: ModelFolder
    previous: str | None = None
    averaged: bool = True


def gather_members(
    folders: Sequence[str | Path],
    *,
    previous_stage: str | Path | None = None,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = DEFAULT_CHECKPOINT,
) -> tuple[MemberFolder, ...]:
    """Read the model folders of a bundle, and those of the previous stages that cascades among them need.

    Args:
        folders: configurations whose probabilities are averaged.
        previous_stage: model folder of the cascades' previous stage; by default it is looked for among
            ``folders``, beside the cascade's folder and in ``nnUNet_results``.
        folds: of every folder; by default all that are there.
        checkpoint: which checkpoint file of each fold.

    Returns:
        The averaged members, in the given order, then the previous stages that are not averaged.

    Raises:
        ExportRefused: a folder cannot be carried over faithfully, or a previous stage is missing.
        ModelFolderError: a folder is incomplete, or named twice.
    """
    if not folders:
        raise ModelFolderError("No model folder was named. Pass at least one.")
    models = [_faithful(folder, folds, checkpoint) for folder in folders]
    _require_distinct([model.path for model in models])
    averaged = len(models)
    links: dict[int, int] = {}
    for index, model in enumerate(models):  # grows by the stages that are found
        stage = model.configuration.previous_stage_name
        if stage is not None:
            path = _previous_folder(model, stage, previous_stage, models)
            known = [other.path.resolve() for other in models]
            if path.resolve() not in known:
                models.append(_faithful(path, folds, checkpoint))
                known.append(path.resolve())
            links[index] = known.index(path.resolve())
    _require_use(previous_stage, models, links)
    names = _names(models)
    return tuple(
        MemberFolder(
            names[index], model, names[links[index]] if index in links else None, averaged=index < averaged
        )
        for index, model in enumerate(models)
    )


def previous_folders(model: ModelFolder, stage: str) -> list[Path]:
    """Where nnU-Net keeps the previous stage of a model: beside it, and in ``nnUNet_results``."""
    parts = model.path.resolve().name.split("__")
    trainer, plans = parts[:2] if len(parts) == 3 else (model.first.trainer, model.plans["plans_name"])
    name = f"{trainer}__{plans}__{stage}"
    places = [model.path.resolve().parent]
    results = os.environ.get("nnUNet_results")  # noqa: SIM112 - nnU-Net's own name
    if results and "dataset_name" in model.plans:
        places.append(Path(results) / model.plans["dataset_name"])
    return list(dict.fromkeys(place / name for place in places))


def _faithful(folder: str | Path, folds: Sequence[int | str] | None, checkpoint: str) -> ModelFolder:
    model = read_model_folder(folder, folds=folds, checkpoint=checkpoint)
    try:
        refuse_unfaithful(model)
    except ExportRefused as refused:
        raise ExportRefused(list(refused.reasons), folder=model.path.name) from refused
    return model


def _previous_folder(
    model: ModelFolder, stage: str, given: str | Path | None, models: Sequence[ModelFolder]
) -> Path:
    """Find the folder of a cascade's previous stage: the given one, one of the others, or nnU-Net's place."""
    if given is not None:
        return Path(given)
    others = [other.path for other in models if other.first.configuration == stage]
    if len(others) == 1:
        return others[0]
    expected = previous_folders(model, stage)
    found = [path for path in expected if (path / "plans.json").is_file()]
    if found:
        return found[0]
    raise ExportRefused([
        Reason(
            f"Configuration {model.first.configuration} is a cascade's second stage, after {stage}, whose "
            f"model folder is not there (looked for {' and '.join(map(str, expected))}).",
            "Name it with --previous-stage.",
        )
    ])  # fmt: skip


def _require_distinct(paths: Sequence[Path]) -> None:
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise ModelFolderError(f"{paths[index]} is named twice: an ensemble averages different models.")


def _require_use(
    previous_stage: str | Path | None, models: Sequence[ModelFolder], links: dict[int, int]
) -> None:
    """The given previous stage is one, and is the configuration that the cascades were trained on."""
    if previous_stage is not None and not links:
        raise ModelFolderError(
            f"--previous-stage {previous_stage}: no model is a cascade's second stage. Leave it out."
        )
    for index, link in links.items():
        wanted, found = models[index].configuration.previous_stage_name, models[link].first.configuration
        if wanted != found:
            raise ModelFolderError(
                f"{models[link].path} holds configuration {found}; the previous stage of "
                f"{models[index].first.configuration} is {wanted}. Pass that one with --previous-stage."
            )


def _names(models: Sequence[ModelFolder]) -> list[str]:
    """Configurations' names; of configurations that share one, the folders' names, numbered at need."""
    names = [model.first.configuration for model in models]
    folders = [model.path.resolve().name for model in models]
    unclear = [folder if names.count(name) > 1 else name for name, folder in zip(names, folders, strict=True)]
    return [
        f"{name}_{unclear[:index].count(name) + 1}" if unclear.count(name) > 1 else name
        for index, name in enumerate(unclear)
    ]


def refuse_disagreement(members: Sequence[MemberFolder]) -> None:
    """Raise unless all members mean the same by channels, labels and files.

    Raises:
        ExportRefused: with every disagreement.
    """
    reasons = list(_disagreements(members))
    if reasons:
        raise ExportRefused(reasons)


def _disagreements(members: Sequence[MemberFolder]) -> Iterator[Reason]:
    first = members[0]
    agreed = _facts(first.model)
    for other in members[1:]:
        for what, found in _facts(other.model).items():
            if found != agreed[what]:
                yield Reason(
                    f"{other.name} has {what} {found}, but {first.name} has {agreed[what]}.",
                    "Only models of one task can work together: of the same channels, labels and files.",
                )


def _facts(model: ModelFolder) -> dict[str, object]:
    return {
        "the channels": list(model.channel_names),
        "the labels": model.dataset["labels"],
        "regions_class_order": model.dataset.get("regions_class_order"),
        "the reader": model.plans["image_reader_writer"],
        "the file ending": model.dataset["file_ending"],
    }
