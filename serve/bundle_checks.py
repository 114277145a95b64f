"""What a description must mean, beyond having the right fields."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from .errors import Code, Refusal
from .schema import Head, Normalization, Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError

    from .schema import Channel, Member, ModelDescription


def explain(error: ValidationError) -> Refusal:
    """Turn the first fault that pydantic found into a refusal that names the field."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "json_invalid":
        return Refusal(
            Code.BUNDLE_UNREADABLE,
            f"model.json is no JSON: {fault['msg']}.",
            remedy="Export the model again.",
        )
    return _unsupported(f"model.json, {field}: {fault['msg']}", fault.get("input"))


def check_meaning(description: ModelDescription) -> None:
    """Refuse a description that contradicts itself.

    Raises:
        Refusal: BUNDLE_UNSUPPORTED, naming the contradiction.
    """
    for detail, observed in _contradictions(description):
        raise _unsupported(f"model.json contradicts itself: {detail}", observed)


def _unsupported(detail: str, observed: Any) -> Refusal:
    plain = observed if isinstance(observed, (str, int, float, bool, type(None))) else repr(observed)[:200]
    return Refusal(
        Code.BUNDLE_UNSUPPORTED,
        detail.removesuffix(".") + ".",
        remedy="Update nnunet-losses, or export the model again with this version.",
        observed=plain,
    )


def _contradictions(description: ModelDescription) -> Iterator[tuple[str, Any]]:
    yield from _label_faults(description)
    yield from _repeated("members", (member.name for member in description.members))
    for member in description.members:
        channels = tuple(channel.name for channel in member.preprocessing.channels)
        if channels != description.channel_names:
            yield f"member {member.name} has other channels than the first", list(channels)
        yield from ((f"member {member.name}, {detail}", value) for detail, value in _member_faults(member))
    yield from _cascade_faults(description)
    yield from _postprocessing_faults(description)
    yield from _variant_faults(description)


def _label_faults(description: ModelDescription) -> Iterator[tuple[str, Any]]:
    softmax = description.head is Head.SOFTMAX
    first = 1 if softmax else 0  # under softmax, channel 0 is the background
    channels = [label.channel for label in description.labels]
    if channels != list(range(first, description.heads)):
        yield f"labels use the channels {channels}, of {description.heads} heads", channels
    yield from _repeated("labels", (label.name for label in description.labels))
    for label in description.labels:
        if softmax and label.value != label.channel:
            yield f"label {label.name} has channel {label.channel}, but value {label.value}", label.value
        if description.ignore_label in (label.value, *label.members):
            yield f"label {label.name} is the ignore label", label.value
        if not label.members or min(label.members) < 0 or max(label.value, *label.members) > 0xFFFF:
            yield f"label {label.name} has members {label.members}, value {label.value}", label.value


def _member_faults(member: Member) -> Iterator[tuple[str, Any]]:
    plan, tiling = member.preprocessing, member.tiling
    dimensions = len(tiling.patch_size)
    if dimensions not in (2, 3) or len(plan.spacing) != dimensions:
        yield f"patch {tiling.patch_size} and spacing {plan.spacing} differ in dimensions", dimensions
    if min(tiling.patch_size, default=0) < 1:
        yield f"patch size {tiling.patch_size} is not positive", tiling.patch_size
    if not all(isfinite(spacing) and spacing > 0 for spacing in plan.spacing):
        yield f"spacing {plan.spacing} is not positive", plan.spacing
    if sorted(plan.transpose_forward) != [0, 1, 2]:
        yield f"transpose_forward {plan.transpose_forward} is no permutation", plan.transpose_forward
    if not set(tiling.mirror_axes) <= set(range(dimensions)):
        yield f"mirror_axes {tiling.mirror_axes} are no axes of the patch", tiling.mirror_axes
    if not plan.channels:
        yield "there is no channel", 0
    yield from _repeated("mirror_axes", tiling.mirror_axes)
    yield from _repeated("folds", (fold.name for fold in member.folds))
    yield from _repeated("features", (stage.output for stage in member.features))
    for channel in plan.channels:
        yield from _channel_faults(channel)


def _cascade_faults(description: ModelDescription) -> Iterator[tuple[str, Any]]:
    """Every previous stage is there, and none waits for itself; what is not averaged is a previous stage."""
    members = {member.name: member for member in description.members}
    if not description.members[0].averaged:
        yield f"its first member {description.members[0].name} is not averaged", description.members[0].name
    needed = {member.previous_stage for member in description.members}
    for member in description.members:
        if member.previous_stage is not None and member.preprocessing.resampling_labels is None:
            yield (
                f"member {member.name} has a previous stage, but no resampling_labels",
                member.previous_stage,
            )
        if not member.averaged and member.name not in needed:
            yield f"member {member.name} is neither averaged nor a previous stage", member.name
        chain = [member.name]
        while (previous := members[chain[-1]].previous_stage) is not None:
            if previous not in members:
                yield f"member {chain[-1]} has the previous stage {previous}, which is absent", previous
                break
            if previous in chain:
                yield f"member {member.name} waits for itself: {[*chain, previous]}", previous
                break
            chain.append(previous)


def _postprocessing_faults(description: ModelDescription) -> Iterator[tuple[str, Any]]:
    for step in description.postprocessing:
        if min(step.values) < 0 or max(*step.values, step.background) > 0xFFFF:
            yield (
                f"postprocessing names the values {step.values}, background {step.background}",
                step.background,
            )


def _variant_faults(description: ModelDescription) -> Iterator[tuple[str, Any]]:
    """Each reduced precision stands for every fold or needs no files, and its proof is about these folds."""
    yield from _repeated("variants", (variant.precision.value for variant in description.variants))
    folds = [(member.name, fold.name) for member in description.members for fold in member.folds]
    hashes = {fold.file: fold.sha256 for member in description.members for fold in member.folds}
    for variant in description.variants:
        name = variant.precision.value
        named = [(file.member, file.fold) for file in variant.files]
        if named and sorted(named) != sorted(folds):
            yield f"the variant {name} has files for {named}, of the folds {folds}", repr(named)
        if variant.precision is Precision.INT8 and not named:
            yield f"the variant {name} has no files", name
        if variant.evidence.float32_sha256 != hashes:
            yield f"the evidence of the variant {name} is about other networks", name
        if not (variant.forced or variant.evidence.passed):
            yield f"the evidence of the variant {name} failed, and it was not forced", name


def _channel_faults(channel: Channel) -> Iterator[tuple[str, Any]]:
    statistics = (channel.mean, channel.std, channel.percentile_00_5, channel.percentile_99_5)
    if channel.normalization is Normalization.CT and None in statistics:
        yield f"channel {channel.name} is CT-normalised, but lacks statistics", channel.name
    if not all(value is None or isfinite(value) for value in statistics):
        yield f"channel {channel.name} has statistics that are no numbers", channel.name


def _repeated(field: str, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    listed = list(values)
    if len(set(listed)) != len(listed):
        yield f"{field} has an entry twice: {listed}", repr(listed)
