"""Writes docs/ood_evidence.md and its pictures from the benchmarks' results; no figure is typed by hand.

python -m benchmarks.ood_evidence
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.phantoms import VOLUME, image_of
from benchmarks.detection.protocol import FIRST_FRESH_STRANGE
from nnunet_losses.serve.stress.suite import CORRUPTIONS

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
BASELINES = ("histogram", "one layer", "maximum softmax", "entropy")
SHOWN = ("noise", "bias_field", "ghosting", "spike", "blur", "gamma", "low_resolution", "occlusion",
         "inversion", "crop_field", "clouds", "checkerboard")  # fmt: skip
NAMES = {"volume": "Phantoms", "hippocampus": "Hippocampi"}
HEAD = """# Evidence: error rates and detection

What [the answer says of an image](prediction.md) rests on two promises of different kinds. That usual images
are called strange no more often than stated is a theorem, and tested here. That strange images are noticed is
no theorem; it is measured here, and [`nnunet-losses stress`](stress.md) measures it on your own images.

This page is written by `python -m benchmarks.ood_evidence` from `benchmarks/results`. What is compared with
what was written down in `benchmarks/detection/protocol.py` and `baselines.py`, as the repository's history
shows, before the first score was computed.
"""


def main() -> None:
    parts = [HEAD]
    validity = _result("validity")
    if validity:
        parts += _validity(validity)
    detection = {name: found for name in NAMES if (found := _result(f"detection_{name}"))}
    if detection:
        parts += _detection(detection)
        _suite_picture(DOCS / "pictures" / "ood_suite.png")
        _bars(detection, DOCS / "pictures" / "ood_fpr.svg")
    (DOCS / "ood_evidence.md").write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _result(name: str) -> Any:
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _validity(result: dict[str, Any]) -> list[str]:
    rows = [
        [f"{rate['alpha']:g}", str(rate["n"]), str(rate["draws"]), f"{rate['mean']:.4f}",
         f"{rate['standard_error']:.4f}", "yes" if rate["holds"] else "**no**", f"{leak['mean']:.3f}",
         "yes" if leak["holds"] else "no"]
        for rate, leak in zip(result["conformal"], result["leaking"], strict=True)
    ]  # fmt: skip
    heads = ["alpha", "n", "draws", "false alarms", "standard error", "holds", "leaking", "leaking holds"]
    drift, phantoms = result["drift"]["made_up"], result["drift"]["phantoms"]
    tested = result["conformal"][0]["tested"]
    return [
        "## Do the error rates hold?\n",
        (f"Each draw calibrates with n new phantoms (pictures of 48 x 48 pixels) by the function that "
        f"`nnunet-losses calibrate` calls, and tests with {tested} others; none serves twice for the same n. "
        f"{result['phantoms']} phantoms were drawn, and {result['refused']} of them refused by the contract, "
        "which counts as a false alarm. It holds where the mean is at most alpha plus two standard errors, "
        "and not below alpha / 2 where n is at least 2 / alpha. *Leaking* ranks the very training cases that "
        "its scores were fitted to, as published thresholds do; the test must find it out.\n"),
        _table(heads, rows),
        "### Drift\n",
        (f"Alarms in streams of {drift['length']} cases that do not drift; at most "
        f"{drift['allowed']:g} of {drift['streams']} are allowed.\n"),
        _table(
            ["scores", "streams", "alarms", "alarms, ranked against the calibration alone"],
            [
                ["made up: normal, heavy-tailed, tied, infinite", str(drift["streams"]),
                 str(drift["ranked_online"]), str(drift["ranked_fixed"])],
                ["phantoms", str(phantoms["streams"]), str(phantoms["ranked_online"]),
                 str(phantoms["ranked_fixed"])],
            ],
        ),
    ]  # fmt: skip


def _detection(results: dict[str, dict[str, Any]]) -> list[str]:
    parts = [
        "## What is noticed?\n",
        (
            "Damaged new cases against new cases. FPR95 is the share of usual cases that a threshold flags "
            "which catches 95 % of the damaged ones; the mean is over all cells (one damage in one strength) "
            "that count. Baselines have the paper's setting, and one that was tuned as our design was.\n"
        ),
        "![Damages of the suite on a phantom, mild to strong](pictures/ood_suite.png)\n",
        "![Mean FPR95 of all methods](pictures/ood_fpr.svg)\n",
    ]
    for name, result in results.items():
        parts += [f"### {NAMES[name]}\n", *_summary(result), *_cells(result)]
    return parts


def _summary(result: dict[str, Any]) -> list[str]:
    methods, gate, verdicts = result["methods"], result["gate"], result["verdicts"]
    ours = methods["ours"]["mean_fpr95"]
    rows = [
        [name, f"{row['mean_fpr95']:.3f}", _against(ours, row["mean_fpr95"], name), f"{row['far_auroc']:.4f}"]
        for name, row in methods.items()
    ]
    low, high = verdicts["interval95"]
    cases = result["cases"]
    out = [
        [family, str(row["cells"]), f"{row['ours']['mean_fpr95']:.3f} ({row['ours']['setting']})",
         *(f"{row[name]['mean_fpr95']:.3f}" for name in BASELINES)]
        for family, row in result["leave_one_family_out"].items()
    ]  # fmt: skip
    strange = max((cell["cases"] for cell in result["cells"]), default=0)
    return [
        (
            f"Scores were fitted to {cases['fit']} cases, ranked among {cases['pool']}, and tested with "
            f"{cases['usual']} new ones and up to {strange} damaged ones in each cell.\n"
        ),
        (
            f"The contract refused {gate['refused']} of {gate['breaches']} hard breaches and "
            f"{gate['usual_refused']} of {gate['usual']} usual images. At alpha .05 the verdict "
            f"called {verdicts['false_alarms']} of "
            f"{verdicts['usual']} usual images strange (exact 95 % interval {low:.3f} to {high:.3f}).\n"
        ),
        _table(["method", "mean FPR95", "ours against it", "AUROC, far"], rows),
        "Each family of damages judged with the designs that were chosen without it:\n",
        _table(["family", "cells", "ours", *BASELINES], out),
    ]


def _against(ours: float, other: float, name: str) -> str:
    if name.startswith("ours"):
        return ""
    if other == 0:
        return "not above" if ours == 0 else "above"
    return f"{ours / other - 1:+.0%}"


def _cells(result: dict[str, Any]) -> list[str]:
    heads = ["damage", "strength", "cases", "ours AUROC", "ours FPR95", "caught at .05",
             *(f"{name} FPR95" for name in BASELINES)]  # fmt: skip
    counted, apart = [], []
    for cell in result["cells"]:
        row = _cell_row(cell, result["verdicts"]["caught"])
        (counted if cell["left_out"] is None else apart).append(
            row if cell["left_out"] is None else [*row, cell["left_out"]]
        )
    return [
        "Cells that count (baselines tuned):\n",
        _table(heads, counted),
        "Cells listed apart, with the rule:\n",
        _table([*heads, "rule"], apart),
    ]


def _cell_row(cell: dict[str, Any], caught: dict[str, float]) -> list[str]:
    corruption = CORRUPTIONS[cell["corruption"]]
    graded = len(corruption.strengths) > 1
    share = caught[f"{cell['corruption']}/{cell['severity']}"]
    row = [
        corruption.title,
        ("mild", "middle", "strong")[cell["severity"]] if graded else "",
        str(cell["cases"]),
    ]
    if "ours" not in cell:
        return [*row, "", "", f"{share:.0%}", *[""] * len(BASELINES)]
    others = [f"{cell[f'{name}, tuned']['fpr95']:.3f}" for name in BASELINES]
    return [*row, f"{cell['ours']['auroc']:.3f}", f"{cell['ours']['fpr95']:.3f}", f"{share:.0%}", *others]


def _suite_picture(target: Path) -> None:
    """A phantom's middle slice with damages, mild to strong, in rows."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    image = image_of(VOLUME.fresh(FIRST_FRESH_STRANGE), ".nii.gz")
    low, high = np.percentile(image.data[0], (0.5, 99.5))
    side, gap, columns = 96, 8, 4
    cell = (3 * side + 2 * 2 + gap, side + 26)
    rows = -(-len(SHOWN) // (columns - 1))
    sheet = Pillow.new("RGB", (cell[0] * (columns - 1) + gap, cell[1] * rows + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for index, key in enumerate(SHOWN):
        x, y = gap + index % (columns - 1) * cell[0], gap + index // (columns - 1) * cell[1]
        draw.text((x, y), CORRUPTIONS[key].title, fill="#1d2733", font=font)
        for severity in range(len(CORRUPTIONS[key].strengths)):
            damaged = CORRUPTIONS[key].apply(image, severity, case="picture").data[0]
            plane = np.clip((damaged[len(damaged) // 2] - low) / (high - low), 0, 1)
            tile = Pillow.fromarray((plane * 255).astype(np.uint8)).resize(
                (side, side), Pillow.Resampling.NEAREST
            )
            sheet.paste(tile, (x + severity * (side + 2), y + 20))
    target.parent.mkdir(exist_ok=True)
    sheet.save(target, optimize=True)


def _bars(results: dict[str, dict[str, Any]], target: Path) -> None:
    """Mean FPR95 of every method."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "ood", "font.size": 9}
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(4.6 * len(results), 3.2), squeeze=False)
    for axis, (name, result) in zip(axes[0], results.items(), strict=True):
        rows = [(method, row["mean_fpr95"]) for method, row in result["methods"].items()
                if not method.startswith("ours, ")][::-1]  # fmt: skip
        colours = ["#0b7a5c" if method == "ours" else "#9aa7b5" for method, _ in rows]
        bars = axis.barh([method for method, _ in rows], [value for _, value in rows], color=colours)
        axis.bar_label(bars, fmt="%.3f", padding=3)
        axis.set(title=NAMES[name], xlabel="mean FPR95 (smaller is better)", xlim=(0, 1.1))
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
