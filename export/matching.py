"""Which model folder each member of a bundle was exported from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import file_sha256

from .errors import CheckpointMismatch, ExportError
from .members import MemberFolder, previous_folders
from .model_folder import DEFAULT_CHECKPOINT, ModelFolder, read_model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.schema import Fold, Member, ModelDescription


def match_members(
    description: ModelDescription,
    folders: Sequence[str | Path],
    *,
    previous_stage: str | Path | None = None,
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
) -> tuple[MemberFolder, ...]:
    """Find every member's model folder by its checkpoints, and read the folds that the bundle holds.

    Args:
        description: of the bundle.
        folders: model folders, in any order.
        previous_stage: of a cascade, where it does not lie where nnU-Net puts it.
        folds: the folds that the bundle is expected to hold; None for no expectation.
        checkpoint: name of the checkpoint file; None finds the exported one.

    Returns:
        One model folder for each member, in the bundle's order.

    Raises:
        CheckpointMismatch: a folder holds other checkpoints.
        ExportError: there are more or fewer folders than the bundle has members, or other folds.
    """
    averaged, paths = description.averaged_members, [Path(folder) for folder in folders]
    if len(paths) != len(averaged):
        names = ", ".join(member.name for member in averaged)
        raise ExportError(
            f"The bundle was exported from {len(averaged)} model folder(s) ({names}); {len(paths)} are given."
        )
    found: dict[str, ModelFolder] = {}
    for member in averaged:
        path = _by_checkpoint(member, paths)
        paths.remove(path)
        found[member.name] = _matching(path, member, folds, checkpoint)
    for member in _cascades_first(description):
        name = member.previous_stage
        if name is not None and name not in found:
            path = _previous(found[member.name], description.member(name), previous_stage)
            found[name] = _matching(path, description.member(name), folds, checkpoint)
    return tuple(
        MemberFolder(member.name, found[member.name], member.previous_stage, member.averaged)
        for member in description.members
    )


def _cascades_first(description: ModelDescription) -> list[Member]:
    """Members in such an order that each comes before its previous stage."""
    order = list(description.averaged_members)
    for member in order:  # grows by the stages before
        order += [description.member(name) for name in (member.previous_stage,) if name is not None]
    return order


def _by_checkpoint(member: Member, paths: Sequence[Path]) -> Path:
    """Find the folder with the member's first fold; else the one named like it, whose difference is told."""
    if len(paths) == 1:
        return paths[0]
    for path in paths:
        if _exported_checkpoint(path, member.folds[0]) is not None:
            return path
    named = [path for path in paths if path.resolve().name.split("__")[-1] == member.name]
    return (named or list(paths))[0]


def _previous(model: ModelFolder, stage: Member, given: str | Path | None) -> Path:
    if given is not None:
        return Path(given)
    places = previous_folders(model, stage.name.split("__")[-1])
    for path in places:
        if path.is_dir():
            return path
    raise ExportError(
        f"The previous stage {stage.name} is not there (looked for {' and '.join(map(str, places))}). "
        "Name its model folder with --previous-stage."
    )


def _matching(
    folder: Path, member: Member, folds: Sequence[int | str] | None, checkpoint: str | None
) -> ModelFolder:
    """Read the folds that the bundle holds; their checkpoints must be the exported ones."""
    names = [fold.name for fold in member.folds]
    if folds and {str(fold) for fold in folds} != set(names):
        wanted = " ".join(map(str, folds))
        raise ExportError(
            f"The bundle holds folds {' '.join(names)}, not {wanted}. Leave --folds out, or export again."
        )
    file = checkpoint or _exported_checkpoint(folder, member.folds[0]) or DEFAULT_CHECKPOINT
    model = read_model_folder(folder, folds=names, checkpoint=file)
    for fold, found in zip(member.folds, model.checkpoints, strict=True):
        if fold.checkpoint_sha256 != found.sha256:
            raise CheckpointMismatch(fold.name, found.path, fold.checkpoint_sha256, found.sha256)
    return model


def _exported_checkpoint(folder: Path, fold: Fold) -> str | None:
    """Find the name of the checkpoint file that was exported, by its hash."""
    for path in sorted((folder / f"fold_{fold.name}").glob("*.pth")):
        if file_sha256(path) == fold.checkpoint_sha256:
            return path.name
    return None
