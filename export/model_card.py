"""MODEL_CARD.md: what a person must know before using the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.serve.schema import Head

if TYPE_CHECKING:
    from nnunet_losses.serve.schema import Member, ModelDescription


def model_card(model: ModelDescription, remarks: tuple[str, ...] = ()) -> str:
    """Write the card of a bundle from its description."""
    sections = (
        f"# {model.name}", _summary(model), _inputs(model), _labels(model), _training(model), _parity(model),
        _limits(model, remarks),
    )  # fmt: skip
    return "\n\n".join(sections) + "\n"


def _summary(model: ModelDescription) -> str:
    member = model.members[0]
    folds = ", ".join(fold.name for fold in member.folds)
    return (
        f"A {len(member.tiling.patch_size)}D nnU-Net (configuration {member.name}, folds {folds}), exported to ONNX "
        f"by nnunet-losses {model.provenance.exporter} on {model.provenance.created}. "
        "It runs without PyTorch and without nnU-Net."
    )


def _inputs(model: ModelDescription) -> str:
    member = model.members[0]
    rows = [
        f"| {index} | {channel.name} | {channel.normalization}{' (nonzero region)' if channel.use_mask else ''} |"
        for index, channel in enumerate(member.preprocessing.channels)
    ]
    return "\n".join([
        "## Input", "", f"Files: {model.file_ending}, read as nnU-Net's {model.reader} does. {_sizes(member)}", "",
        "| channel | name | normalisation |", "| --- | --- | --- |", *rows, *_trained_on(model),
    ])  # fmt: skip


def _sizes(member: Member) -> str:
    spacing = " x ".join(f"{size:g}" for size in member.preprocessing.spacing)
    patch = " x ".join(map(str, member.tiling.patch_size))
    return f"Images are resampled to {spacing} mm and cut into tiles of {patch} voxels."


def _trained_on(model: ModelDescription) -> list[str]:
    if model.fingerprint is None:
        return []
    known = model.fingerprint
    low, high = (
        " x ".join(f"{size:g}" for size in sizes) for sizes in (known.spacing_min, known.spacing_max)
    )
    small, large = (" x ".join(map(str, sizes)) for sizes in (known.shape_min, known.shape_max))
    return [
        "",
        f"Trained on {known.n_cases} images with a spacing of {low} to {high} mm and {small} to {large} voxels (z, y, x).",
    ]


def _labels(model: ModelDescription) -> str:
    rule = {
        Head.SOFTMAX: "Every voxel gets the label with the largest logit.",
        Head.SIGMOID: "Regions may overlap; each is decided at probability 0.5, and later ones are painted over earlier ones.",
    }[model.head]
    ignored = "" if model.ignore_label is None else f" Value {model.ignore_label} was ignored in training."
    rows = [
        f"| {label.value} | {label.name} | {', '.join(map(str, label.members))} |" for label in model.labels
    ]
    return "\n".join([
        "## Output", "", rule + ignored, "", "| mask value | label | consists of |", "| --- | --- | --- |", *rows,
    ])  # fmt: skip


def _training(model: ModelDescription) -> str:
    known = model.training
    lines = [
        "## Training", "", f"- Data set: {known.dataset}", f"- Trainer: {known.trainer}",
        f"- Epochs: {known.epochs if known.epochs is not None else 'unknown'}", f"- Loss: {_loss(model)}",
        f"- Empty labels: {_empty_labels(known.phi, known.smooth)}",
    ]  # fmt: skip
    dice = ", ".join(f"{name} {value:.4f}" for name, value in known.validation_dice.items())
    lines.append(f"- Validation Dice: {dice or 'unknown (the model folder holds no validation summary)'}")
    return "\n".join(lines)


def _loss(model: ModelDescription) -> str:
    known = model.training
    if known.loss is None:
        return f"unknown to this package; it is what {known.trainer} defines"
    parameters = ", ".join(f"{name} {value}" for name, value in known.loss_parameters.items())
    return f"{known.loss}{f' ({parameters})' if parameters else ''}"


def _empty_labels(phi: str | None, smooth: float | None) -> str:
    meaning = {
        "I": "Dice is computed per image and label: a label that is absent from an image teaches the network to leave it out",
        "CI": "Dice is computed per image over all labels together",
        "BI": "Dice is computed per label over the whole batch: a label that is absent from one image of the batch is "
        "judged with the other images",
        "BCI": "Dice is computed over the whole batch and all labels together",
    }
    if phi is None:
        return "unknown, or the loss has no part that treats them in a special way"
    epsilon = "" if smooth is None else f", epsilon {smooth:g}"
    return f"reduction Phi = {phi}{epsilon}. {meaning.get(phi, 'See the catalogue of losses')}."


def _parity(model: ModelDescription) -> str:
    if model.parity is None:
        return (
            "## Parity with nnU-Net\n\nNot measured yet. At export every fold's tile logits were compared with PyTorch; "
            "`nnunet-losses verify` compares whole predictions and writes the result here."
        )
    known = model.parity
    dice = ", ".join(f"{name} {value:.6f}" for name, value in known.dice.items())
    lines = [
        "## Parity with nnU-Net", "", f"**{'Passed' if known.passed else 'FAILED'}** on {known.created}, "
        f"{known.backend} against {known.reference}.", "", f"- Cases {known.cases}, tiles {known.tiles}",
        f"- Largest difference of tile logits: {known.max_tile_difference:.2e} of their range",
        f"- Differing voxels: {known.differing_voxels} of {known.voxels}; "
        f"{known.differing_voxels_beyond_margin} where the two best logits are more than 0.1 apart",
        f"- Dice between the two masks: {dice}", *(f"- {failure}" for failure in known.failures),
    ]  # fmt: skip
    return "\n".join(lines)


def _limits(model: ModelDescription, remarks: tuple[str, ...]) -> str:
    lines = [
        "## Limits", "",
        "- Not a medical device. Not for diagnosis or treatment.",
        "- Not calibrated: no statement is made about images unlike the training images, nor about the probability "
        "that a voxel is right.",
        "- Licence: unknown. The model folder states none for the weights; it is inherited from the training data "
        "and from whoever trained the model.",
        *(f"- {remark}" for remark in remarks),
        f"- Made with nnunetv2 {model.provenance.nnunetv2}, torch {model.provenance.torch}, onnx "
        f"{model.provenance.onnx}, opset {model.provenance.opset}.",
    ]  # fmt: skip
    return "\n".join(lines)
