"""Says in words what came back. No files, no pictures: only replies in, sentences out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .service import Reply

_EMPTY_REASONS = {
    "NO_VOXEL_ABOVE_THRESHOLD": "no voxel was more likely lesion than background",
    "ALL_COMPONENTS_BELOW_SIZE": "everything found was too small",
    "ALL_COMPONENTS_BELOW_CONFIDENCE": "nothing found was certain enough",
    "INPUT_BLANK": "the image is blank",
    "REJECTED_OOD": "the image is unlike the training data",
    "LABEL_ABSENT": "the label is absent",
}
_MEANINGS = {
    "no_finding": "It may be read as: no finding.",
    "no_decision": "It must not be read as: no finding.",
    "indeterminate": "It is undecided.",
}


def headline(reply: Reply) -> str:
    """Return the outcome in two or three words."""
    if reply.answer is None or reply.answer["outcome"] == "rejected":
        return f"Refused: {(reply.problem or {}).get('code', 'without a code')}"
    return {"segmented": "Segmented", "empty": "Empty", "indeterminate": "Undecided"}[reply.answer["outcome"]]


def sentences(reply: Reply) -> list[str]:
    """Return the reply, one thing a sentence."""
    if reply.problem is not None:
        problem = reply.problem
        return [f"HTTP {reply.status}. {problem['detail']}", problem["remedy"]]
    assert reply.answer is not None, "a reply has an answer or a problem"
    answer = reply.answer
    found = [_label(label) for label in answer["labels"] if label["present"]]
    return [*(found or [_empty(answer)]), _verdict(answer), *_warnings(answer)]


def distinct(replies: Mapping[str, Reply]) -> list[tuple[str, str]]:
    """Return headline and sentences of each reply, once where several models say the same."""
    return list(dict.fromkeys((headline(reply), " ".join(sentences(reply))) for reply in replies.values()))


def _label(label: Mapping[str, Any]) -> str:
    pieces, size = label["components"], _size(label)
    return f"{pieces} {label['name']}{'' if pieces == 1 else 's'}, {size} in all."


def _size(label: Mapping[str, Any]) -> str:
    volume = label.get("volume_ml")
    unit = "pixel" if volume is None else "voxel"
    voxels = f"{label['voxels']:,} {unit}{'' if label['voxels'] == 1 else 's'}".replace(",", " ")
    return voxels if volume is None else f"{volume:.3f} ml ({voxels})"


def _empty(answer: Mapping[str, Any]) -> str:
    empty = answer.get("empty")
    if empty is None:
        return "Nothing was found."
    reason = _EMPTY_REASONS.get(empty["reason"], empty["reason"])
    return f"The mask is empty: {reason} ({empty['reason']}). {_MEANINGS.get(empty['meaning'], '')}".strip()


def _verdict(answer: Mapping[str, Any]) -> str:
    verdict = answer["distribution"]["verdict"]
    if verdict == "not_calibrated":
        return "Whether the image is like the training data is not judged: the model is not calibrated."
    return f"Like the training data: {verdict.replace('_', ' ')}."


def _warnings(answer: Mapping[str, Any]) -> list[str]:
    return [f"Warning {warning['code']}: {warning['message']}" for warning in answer.get("warnings", ())]


def duration(seconds: float) -> str:
    """Write a time as a person says it.

    Example:
        >>> duration(0.04), duration(8.25), duration(125)
        ('0.04 s', '8.2 s', '2 min 05 s')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
