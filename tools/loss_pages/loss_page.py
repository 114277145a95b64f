"""Writes the page of one loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses import get_loss_spec, list_losses
from nnunet_losses.notes import empty_rows, family_of, notes_of
from nnunet_losses.notes.verdict import WORDS, verdict
from nnunet_losses.trainers.names import PREFIX, Configuration, format_name
from nnunet_losses.trainers.spelling import spell, squash

from .markdown import cell, linked, number, typeset

if TYPE_CHECKING:
    from jinja2 import Environment

    from nnunet_losses.notes import EmptyRow
    from nnunet_losses.spec import LossSpec, Parameter

_SITUATIONS = {
    "empty_batch": "A batch without any lesion",
    "empty_sample": "An empty sample beside one with a lesion",
    "absent_class": "A class that the batch lacks, where another class is present",
}
_NEEDS = {
    "class_weights": "The trainer takes the weights from the training set; picture and table are without.",
    "class_frequencies": "The trainer takes the frequencies from the training set.",
    "epsilon": "The trainer takes epsilon from the training set: the mean voxels of each class per patch. "
    "Picture and table: 100 voxels.",
    "geometry": "Geometry of the target: {maps}. The trainer's data loader makes it after augmentation; "
    "without a loader the loss makes it itself.",
    "labelled": "`forward` takes `labelled` (B, C): which classes each sample has labels for; None: all. "
    "The trainer reads it from `labelled.json` beside the preprocessed data (case -> list of its labelled "
    "labels); without that file it stops with an error.",
    "schedule": "It has a schedule: the trainer calls `set_epoch`; in a loop of your own, you do.",
}


def loss_page(environment: Environment, key: str) -> str:
    """Return the page of a loss."""
    spec, notes = get_loss_spec(key), notes_of(key)
    return environment.get_template("loss.md.jinja").render(
        spec=spec,
        notes=notes,
        family=family_of(key),
        formula=typeset(spec.formula),
        source=f"[{spec.reference}]({spec.url})",
        state=", half-way through the training (epoch 500 of 1000)" if "schedule" in spec.needs else "",
        empties=_empty_sentences(spec),
        rows=[_numbers(row) for row in empty_rows(key)],
        parameters=[_parameter(item) for item in spec.trainer_fields],
        facts=_facts(spec),
        trainer=PREFIX + spec.trainer,
        variant=format_name(Configuration(key, variant="NoMirroring", epochs=250)),
    )


def empty_setting(key: str, setting: str) -> EmptyRow:
    """Return what was measured of a loss with a setting."""
    return next(row for row in empty_rows(key) if row.setting == setting)


def _empty_sentences(spec: LossSpec) -> list[str]:
    default = empty_setting(spec.key, "default")
    sentences = [f"{words}: it {_judge(default, name)}." for name, words in _SITUATIONS.items()]
    if spec.choices.get("phi"):
        batch = _judge(empty_setting(spec.key, "phi=BI"), "empty_sample")
        sentences[1] += (
            f' With `phi="BI"`, which the trainer takes where the plan says `batch_dice`, it {batch}.'
        )
    return [*sentences, _on_partial_labels(spec, default)]


def _judge(row: EmptyRow, situation: str) -> str:
    pushes = row.pushes[situation]
    return f"{verdict(pushes)} false alarms ({' and '.join(map(number, pushes))})"


def _on_partial_labels(spec: LossSpec, default: EmptyRow) -> str:
    if "labelled" in spec.needs:
        row = empty_setting(spec.key, "class not labelled")
        return (
            "Partial labels: it is told which classes each sample has labels for. What is predicted of a "
            f"class without labels is left alone (pushes {_pair(row, 'empty_sample')}); where the class is "
            f"labelled and empty, they are {_pair(default, 'empty_sample')}."
        )
    if max(push for name in ("empty_sample", "absent_class") for push in default.pushes[name]) < WORDS[1][0]:
        return (
            "Partial labels: by default it keeps quiet on classes that are not annotated, since they look "
            "absent, and, by the same token, on false alarms of absent ones."
        )
    return (
        "Partial labels: a class that is not annotated looks absent, so that what is predicted of it is "
        "pushed down as the lines above say. Take [`leaf_dice`](leaf_dice.md), "
        "[`marginal_dice`](marginal_dice.md), or the ignore label."
    )


def _pair(row: EmptyRow, situation: str) -> str:
    return " and ".join(number(push) for push in row.pushes[situation])


def _numbers(row: EmptyRow) -> dict[str, Any]:
    pushes = [push for name in _SITUATIONS for push in row.pushes[name]]
    return {"setting": f"`{row.setting}`", "numbers": [number(item) for item in (*row.values, *pushes)]}


def _parameter(item: Parameter) -> dict[str, str]:
    default = f"`{item.default!r}`"
    if item.name == "phi":
        default += "; trainers: by the plan"
    return {
        "name": item.name,
        "default": default,
        "expectation": cell(item.expectation),
        "about": cell(item.about),
        "spelling": _spelling(item),
    }


def _spelling(item: Parameter) -> str:
    if not item.nameable:
        return "cannot be named"
    example = 0.5 if item.default is None and item.name == "alpha" else item.default
    return f"`_{squash(item.name)}{spell(True if example is None else example)}`"


def _facts(spec: LossSpec) -> list[str]:
    heads = "softmax and regions (sigmoid)" if "sigmoid" in spec.activations else "softmax only"
    if spec.regions is not None:
        heads += f", {spec.regions} region at most"
    ranks = "several GPUs give the gradient of one" if spec.joined else "each GPU is for itself"
    lowest = "depends on parameters and labels" if spec.minimum is None else f"is {spec.minimum:g}"
    facts = [f"Heads: {heads}. In a distributed training {ranks}. The lowest value {lowest}."]
    maps = ", ".join(f"`{name}`" for name in spec.geometry)
    if spec.begins_on:
        facts.append(
            f"Its trainer spends the first half of the epochs on [`{spec.begins_on}`]({spec.begins_on}.md), "
            "because this loss does not train from scratch; the trainer's `warmup` changes the share."
        )
    facts += [linked(spec.advice, list_losses())] if spec.advice else []
    return facts + [text.format(maps=maps) for need, text in _NEEDS.items() if need in spec.needs]
