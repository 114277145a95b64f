"""Draws what was measured: one picture per loss, and those that compare losses. Always the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from .svg import ALARM, INK, LESION, PALETTE, PAPER, REST, SOFT, digest, house_style, write_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

LINES = {
    "lesion": (LESION, "o", "lesion, pulled up"),
    "alarm": (ALARM, "s", "false alarm, pushed down"),
    "rest": (REST, None, "background, pushed down"),
}
FLOOR, CEILING = 1e-3, 1e4
EMPTY_AT = 0.35  # where "no lesion" stands on a logarithmic axis


def loss_picture(sizes: Sequence[int], curves: dict[str, Any]) -> str:
    """Draw one loss as SVG: its value, and its pushes with the lesion alone and beside a large one.

    Args:
        sizes: voxels of the lesion, 0 first.
        curves: what ``measure.curves`` returns.
    """
    with house_style():
        figure = Figure(figsize=(9.2, 2.75), layout="constrained")
        value, alone, beside = figure.subplots(1, 3)
        _draw_values(value, sizes, curves)
        _draw_pushes(alone, sizes, curves["alone"], "gradient, lesion alone (1 = cross-entropy)")
        _draw_pushes(beside, sizes, curves["beside"], "gradient, beside a large lesion")
        figure.legend(handles=_labelled(alone), loc="outside lower center", ncols=3, frameon=False)
        return write_svg(figure, digest(curves))


def comparison_picture(
    sizes: Sequence[int], curves: dict[str, Any], *, keys: Sequence[str], groups: Sequence[tuple[str, str]]
) -> str:
    """Draw the pull on the lesion's voxels for several losses as SVG, a panel for each scene.

    Args:
        sizes: voxels of the lesion, 0 first.
        curves: by key.
        keys: of the losses, eight at most.
        groups: title and scene of each panel; scene "alone" or "beside".
    """
    with house_style():
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        panels = figure.subplots(1, len(groups), sharey=True)
        for axes, (title, scene) in zip(panels, groups, strict=True):
            for look, key in zip(PALETTE, keys, strict=False):
                _line(axes, sizes[1:], _clamped(curves[key][scene]["lesion"][1:]), *look, label=key)
            _finish(axes, sizes[1:], title)
        figure.legend(handles=_labelled(panels[0]), loc="outside lower center", ncols=4, frameon=False)
        return write_svg(figure, digest([curves[key] for key in keys]))


def epsilon_picture(masses: Sequence[float], pushes: dict[str, Sequence[float]]) -> str:
    """Draw the gradient on an empty patch against the predicted mass, a line for each epsilon, as SVG.

    Args:
        masses: predicted voxels.
        pushes: by label of the epsilon.
    """
    with house_style():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        for number, (label, values) in enumerate(pushes.items()):
            colour, marker, dash = PALETTE[number]
            axes.plot(masses, values, dash, color=colour, marker=marker, label=label)
        axes.set(xscale="log", yscale="log", xlabel="predicted voxels P where there is no lesion")
        axes.set_title("sum of the gradient by the logits (large: the patch is emptied)")
        axes.set_ylim(1e-8, 1)
        figure.legend(loc="outside lower center", ncols=len(pushes), frameon=False)
        return write_svg(figure, digest([list(masses), pushes]))


def _labelled(axes: Axes) -> list[Any]:
    return [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]


def _draw_values(axes: Axes, sizes: Sequence[int], curves: dict[str, Any]) -> None:
    for scene, dash, label in (("alone", "-", "alone"), ("beside", "--", "beside a large one")):
        _line(axes, sizes, curves[scene]["value"], INK, None, dash, label=label)
        axes.plot(EMPTY_AT, curves[scene]["value"][0], "o", color=INK, markerfacecolor=PAPER)
    _lesion_axis(axes, sizes)
    axes.set_title("value of the loss")
    axes.legend(frameon=False, fontsize=8)


def _draw_pushes(axes: Axes, sizes: Sequence[int], record: dict[str, Any], title: str) -> None:
    for region, (colour, marker, label) in LINES.items():
        pushes = _clamped(record[region])
        _line(axes, sizes, pushes, colour, marker, label=label)
        if record[region][0] is not None:
            axes.plot(EMPTY_AT, pushes[0], marker or "o", color=colour, markerfacecolor=PAPER)
    _finish(axes, sizes, title)


def _line(
    axes: Axes,
    sizes: Sequence[int],
    values: Sequence[float],
    colour: str,
    marker: str | None,
    dash: str = "-",
    *,
    label: str,
) -> None:
    """Draw values over sizes above 0."""
    points = [(size, value) for size, value in zip(sizes, values, strict=True) if size]
    axes.plot(
        [size for size, _ in points],
        [value for _, value in points],
        dash,
        color=colour,
        marker=marker,
        label=label,
    )


def _clamped(pushes: Sequence[float | None]) -> list[float]:
    """What is below the floor, or negative, lies on the floor."""
    return [FLOOR if push is None else min(max(push, FLOOR), CEILING) for push in pushes]


def _finish(axes: Axes, sizes: Sequence[int], title: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(FLOOR / 1.6, CEILING * 1.6)
    axes.set_yticks(
        [1e-3, 1e-2, 0.1, 1, 10, 100, 1e3, 1e4], ["≤ 0.001", "0.01", "0.1", "1", "10", "100", "1000", "≥ 10⁴"]
    )
    axes.axhline(1, color=SOFT, linewidth=0.8)
    _lesion_axis(axes, sizes)
    axes.set_title(title)


def _lesion_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    ticks: dict[float, str] = {1: "1", 10: "10", 100: "100", 900: "900"}
    if 0 in sizes:
        ticks = {EMPTY_AT: "none"} | ticks
    axes.set_xticks(list(ticks), list(ticks.values()), minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(1300, 0.22 if 0 in sizes else 0.75)  # it shrinks from left to right
    axes.set_xlabel("voxels of the lesion")
