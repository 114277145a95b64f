"""MODEL_CARD.md: what a person must know before using the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.serve.schema import Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnunet_losses.serve.schema import Member, ModelDescription, Variant

_RULES = {
    Head.SOFTMAX: "Every voxel gets the label with the largest logit.",
    Head.SIGMOID: "Regions may overlap. Each is decided at probability 0.5, and later ones are painted over "
    "earlier ones.",
}
_MEAN = "Every voxel gets the label with the largest mean probability of the members."
_NOT_SHARED = "unknown, or not the same for all members"
_NOT_CALIBRATED = (
    "Not calibrated: nothing is claimed about images unlike the training images, nor about the probability "
    "that a voxel is right."
)
_LICENCE = (
    "Licence: unknown. The model folder states none; ask whoever trained the model, and mind the licence of "
    "the training data."
)
# Tilborghs et al., The dice loss in the context of missing or empty labels, MICCAI 2022: arXiv 2207.09521
_EMPTY_LABELS = {
    "I": "One Dice term per image and label: where a label is absent, an epsilon far below the label's usual "
    "number of voxels leaves this term almost no gradient. It does not teach to predict nothing there; other "
    "parts of the loss, such as cross-entropy, do",
    "CI": "One Dice term per image, over all its labels: to predict an absent label costs as much as any "
    "other false voxel of the image",
    "BI": "One Dice term per label, over the whole batch: a label that is absent from one image is pushed "
    "down there as long as another image of the batch has it",
    "BCI": "One Dice term over the whole batch and all labels: to predict an absent label costs as much as "
    "any other false voxel",
}


def model_card(model: ModelDescription) -> str:
    """Write the card of a bundle from its description.

    Args:
        model: the bundle's description; the card says nothing that is not in it.
    """
    sections = (_summary, _inputs, _outputs, _training, _parity, _variants, _limits)
    return "\n\n".join(text for section in sections if (text := section(model))) + "\n"


def _summary(model: ModelDescription) -> str:
    targets = ", ".join(label.name for label in model.labels)
    made = f"exported to ONNX by nnunet-losses {model.provenance.exporter} on {model.provenance.created}"
    averaged = model.averaged_members
    if len(averaged) == 1:
        member = averaged[0]
        kind = f"A {len(member.tiling.patch_size)}D nnU-Net"
        which = f"configuration {_who(member)}"
    else:
        kind = f"An ensemble of {len(averaged)} nnU-Nets"
        which = "the mean probability of " + "; ".join(map(_who, averaged))
    return (
        f"# {model.name}\n\n{kind} that segments {targets}: {which}, {made}. It runs without PyTorch and "
        "without nnU-Net."
    )


def _who(member: Member) -> str:
    """Name a member, its folds, and the stage before it."""
    which = "fold" if len(member.folds) == 1 else "mean of folds"
    after = "" if member.previous_stage is None else f" of a cascade, after {member.previous_stage}"
    return f"{member.name}{after}, {which} {', '.join(fold.name for fold in member.folds)}"


def _inputs(model: ModelDescription) -> str:
    rows = [
        f"| {index} | {name} | {_normalizations(model, index)} |"
        for index, name in enumerate(model.channel_names)
    ]
    sizes = " ".join(
        f"{'' if len(model.members) == 1 else member.name + ': '}{_sizes(member)}" for member in model.members
    )
    files = f"Files: {model.file_ending}, read as nnU-Net's {model.reader} does. {sizes}"
    head = ["## Input", "", files, "", "| channel | name | normalisation |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, *_trained_on(model)])


def _normalizations(model: ModelDescription, index: int) -> str:
    channels = [member.preprocessing.channels[index] for member in model.members]
    named = (f"{channel.normalization}{' (nonzero)' if channel.use_mask else ''}" for channel in channels)
    return ", ".join(dict.fromkeys(named))


def _sizes(member: Member) -> str:
    spacing = _times(f"{size:g}" for size in member.preprocessing.spacing)
    patch = _times(member.tiling.patch_size)
    return f"Images are resampled to {spacing} mm and cut into tiles of {patch} voxels."


def _trained_on(model: ModelDescription) -> list[str]:
    known = model.fingerprint
    if known is None:
        return []
    spacings = [_times(f"{size:g}" for size in sizes) for sizes in (known.spacing_min, known.spacing_max)]
    shapes = [_times(sizes) for sizes in (known.shape_min, known.shape_max)]
    sentence = (
        f"Trained on {known.n_cases} images with spacings of {' to '.join(dict.fromkeys(spacings))} mm and "
        f"{' to '.join(dict.fromkeys(shapes))} voxels (z, y, x)."
    )
    return ["", sentence]


def _outputs(model: ModelDescription) -> str:
    ignored = "" if model.ignore_label is None else f" Value {model.ignore_label} was ignored in training."
    rows = [
        f"| {label.value} | {label.name} | {', '.join(map(str, label.members))} |" for label in model.labels
    ]
    is_mean = model.head is Head.SOFTMAX and len(model.averaged_members) > 1
    rules = " ".join([(_MEAN if is_mean else _RULES[model.head]) + ignored, *_postprocessing(model)])
    head = ["## Output", "", rules, ""]
    return "\n".join([*head, "| mask value | label | consists of values |", "| --- | --- | --- |", *rows])


def _postprocessing(model: ModelDescription) -> list[str]:
    if not model.postprocessing:
        return []
    steps = "; then ".join(f"of {', '.join(map(str, step.values))}" for step in model.postprocessing)
    return [f"Postprocessing keeps only the largest component of these mask values, taken together: {steps}."]


def _training(model: ModelDescription) -> str:
    known = model.training
    dice = ", ".join(f"{name} {value:.4f}" for name, value in known.validation_dice.items())
    lines = (
        f"Data set: {known.dataset}",
        f"Trainer: {known.trainer}",
        f"Epochs: {'unknown' if known.epochs is None else known.epochs}",
        f"Loss: {_loss(model)}",
        f"Empty labels: {_empty_labels(model)}",
        f"Validation Dice: {dice or 'unknown; the model folder holds no summary of a validation'}",
    )
    return "\n".join(["## Training", "", *(f"- {line}" for line in lines)])


def _loss(model: ModelDescription) -> str:
    known = model.training
    if known.loss is None and len(model.averaged_members) > 1:
        return _NOT_SHARED
    if known.loss is None:
        return f"what {known.trainer} defines; it is none of the catalogue of nnunet-losses"
    parameters = ", ".join(f"{name} {value}" for name, value in known.loss_parameters.items())
    return f"{known.loss}{f' ({parameters})' if parameters else ''}"


def _empty_labels(model: ModelDescription) -> str:
    known = model.training
    if known.loss is None:
        return "unknown"
    if known.phi is None and len(model.averaged_members) > 1:
        return _NOT_SHARED
    if known.phi is None:
        return "this loss has no reduction Phi"
    epsilon = "" if known.smooth is None else f", epsilon {known.smooth:g}"
    return f"reduction Phi = {known.phi}{epsilon}. {_EMPTY_LABELS[known.phi]}."


def _parity(model: ModelDescription) -> str:
    known = model.parity
    if known is None:
        return (
            "## Parity with nnU-Net\n\nNot measured yet. At export, each network file was compared with "
            "PyTorch on random tiles; `nnunet-losses verify` compares whole predictions and writes the "
            "result here."
        )
    dice = ", ".join(f"{name} {value:.6f}" for name, value in known.dice.items())
    lines = (
        f"Cases: {known.cases}; tiles compared: {known.tiles}",
        f"Largest difference of a tile's logits: {known.max_tile_difference:.2e} of their range",
        f"Differing voxels: {known.differing_voxels} of {known.voxels}",
        f"Of these with the two best logits more than 0.1 apart: {known.differing_voxels_beyond_margin}",
        f"Dice between the two masks: {dice}",
        *(f"Failure: {failure}" for failure in known.failures),
    )
    verdict = f"**{'Passed' if known.passed else 'FAILED'}** on {known.created}: {known.backend} against"
    head = ["## Parity with nnU-Net", "", f"{verdict} {known.reference}.", ""]
    return "\n".join([*head, *(f"- {line}" for line in lines)])


def _variants(model: ModelDescription) -> str:
    """What each reduced precision changed on its owner's images; nothing where there is none."""
    if not model.variants:
        return ""
    rows = [
        f"| {variant.precision} | {_proof(variant)} | {label.label} | {_figure(label.agreement)} | "
        f"{_figure(label.drop)} |"
        for variant in model.variants
        for label in variant.evidence.labels
    ]
    head = ("## Reduced precision", "", "| precision | proof | label | Dice against float32 | loss of Dice |")
    return "\n".join([*head, "| --- | --- | --- | ---: | ---: |", *rows])


def _proof(variant: Variant) -> str:
    known = variant.evidence
    verdict = "passed" if known.passed else "FAILED, kept by force" if variant.forced else "FAILED"
    return f"{verdict} on {known.cases} cases with {known.engine}"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.5f}"


def _limits(model: ModelDescription) -> str:
    made = model.provenance
    lines = (
        "Not a medical device. Not for diagnosis or treatment.",
        _NOT_CALIBRATED,
        _LICENCE,
        f"Made with nnunetv2 {made.nnunetv2}, torch {made.torch}, onnx {made.onnx}, opset {made.opset}.",
    )
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines)])


def _times(sizes: Iterable[object]) -> str:
    return " x ".join(map(str, sizes))
