"""The figures of ``losses.py`` as lines and as a page."""

from __future__ import annotations

from typing import Any

LIMITS = {  # units; every other loss of ours: 1.2
    **dict.fromkeys(("dice_focal", "unified_focal"), 1.5),
    **dict.fromkeys(("boundary", "dice_boundary", "dpce", "hausdorff_one_sided", "generalized_surface"), 1.5),
    **dict.fromkeys(("blob_dice", "blob_dice_ce", "cc_dice_ce", "cat_mil"), 2.5),
    **dict.fromkeys(("hausdorff_dt", "dice_hausdorff"), 4.0),
    "dice_topk": 2.0,
    "lovasz": 5.0,
    **dict.fromkeys(("cldice", "hausdorff_er", "skeleton_recall"), None),
}

INTRODUCTION = """# Speed of the losses

Forward and backward pass on a CPU, in units of nnU-Net's `DC_and_CE_loss`. Each loss ran in turn with the
unit, {rounds} times after a warm-up; a figure is the ratio of the two medians. Geometry was given, as
data-loader workers give it. The batch: {classes} classes, {components} balls per sample, logits of noise plus
a blurred truth. Written by
`python benchmarks/losses.py --json benchmarks/results/losses.json --table docs/loss_speed.md` (`make bench`).

- Machine: {cores} cores, {processor}, {threads} threads; {versions}.
- {date}. Load of the machine, mean of one minute: {before} before, {after} after. A load beyond the cores
  means that other programs ran at the same time: then times in ms are too long, and ratios of wall time
  scatter by a third. The processor time of both threads together scatters less; its ratio stands beside.
- MB: the most that torch held at once beyond the inputs, for logits {first}. What NumPy and the distance
  transform hold is not in it.
- A GPU was not measured.

A figure above the limit that the project sets itself is bold.
"""


GEOMETRY = """What a data-loader worker spends on one patch of 128 x 128 x 128 voxels with two classes and 20
balls, on one thread; `python benchmarks/geometry.py`.
"""


def limit_of(name: str) -> float | None:
    """Return the limit of one of our losses in units; None for peers and where there is none."""
    return None if " " in name else LIMITS.get(name, 1.2)


def show(result: dict[str, Any]) -> None:
    """Print one line."""
    memory = f"{result['peak_megabytes']:7.0f} MB" if "peak_megabytes" in result else ""
    limit = "" if result["at_most"] is None else f"at most {result['at_most']}"
    print(
        f"{result['loss']:34s} {result['components']:4d} components {result['ms']:9.1f} ms "
        f"{result['units']:7.2f} units {result['processor_units']:7.2f} (processor) {memory} {limit}",
        flush=True,
    )


def page(report: dict[str, Any], geometry: dict[str, Any] | None = None) -> str:
    """Return the page in Markdown; ``geometry`` holds the figures of ``geometry.py``."""
    results = report["results"]
    shapes = list(dict.fromkeys(tuple(result["shape"]) for result in results))
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    head = INTRODUCTION.format(
        classes=shapes[0][1],
        components=results[0]["components"],
        rounds=results[0]["rounds"],
        versions=versions,
        before=report["load_before"][0],
        after=report["load_after"][0],
        first=shapes[0],
        **{name: report[name] for name in ("cores", "processor", "threads", "date")},
    )
    few, many = _by_components(results)
    parts = [
        head,
        "## Ours\n",
        _table(few, shapes, peers=False),
        "## Others\n",
        _table(few, shapes, peers=True),
    ]
    if many:
        parts += [f"## {many[0]['components']} components\n", _table(many, shapes, peers=False)]
    if geometry:
        parts += ["## Geometry\n", GEOMETRY, _geometry_table(geometry)]
    parts += [f"Not measured: {name} ({reason}).\n" for name, reason in report["not_measured"].items()]
    return "\n".join(parts)


def _by_components(results: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    least = min(result["components"] for result in results)
    few = [result for result in results if result["components"] == least]
    return few, [result for result in results if result["components"] > least]


def _table(results: list[dict[str, Any]], shapes: list[tuple[int, ...]], *, peers: bool) -> str:
    rows: dict[str, dict[tuple[int, ...], dict[str, Any]]] = {}
    for result in results:
        if (" " in result["loss"]) == peers:
            rows.setdefault(result["loss"], {})[tuple(result["shape"])] = result
    columns = ["loss", "at most"]
    for shape in shapes:
        columns += [f"ms, {shape}", "units", "processor units"]
    lines = [_line([*columns, "MB"]), _line(["---"] + ["---:"] * len(columns))]
    lines += [_line(_row(name, cells, shapes)) for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def _geometry_table(geometry: dict[str, Any]) -> str:
    lines = [_line(["map", "at most ms", "ms", "processor ms"]), _line(["---", "---:", "---:", "---:"])]
    for name, cell in geometry.items():
        limit = cell["limit_ms"]
        times = [
            f"**{cell[key]:.0f}**" if cell[key] > limit else f"{cell[key]:.0f}"
            for key in ("ms", "processor_ms")
        ]
        lines.append(_line([f"`{name}`", str(limit), *times]))
    return "\n".join(lines) + "\n"


def _row(name: str, cells: dict[tuple[int, ...], dict[str, Any]], shapes: list[tuple[int, ...]]) -> list[str]:
    first = cells[shapes[0]]
    limit = first["at_most"]
    row = [name if " " in name else f"`{name}`", "" if limit is None else f"{limit:.1f}"]
    for shape in shapes:
        if shape not in cells:  # too slow to repeat
            row += ["", "", ""]
            continue
        cell = cells[shape]
        row += [f"{cell['ms']:.0f}", *(_figure(cell[key], limit) for key in ("units", "processor_units"))]
    return [*row, f"{first['peak_megabytes']:.0f}" if "peak_megabytes" in first else ""]


def _figure(value: float, limit: float | None) -> str:
    return f"**{value:.2f}**" if limit is not None and value > limit else f"{value:.2f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
