"""``python -m tools.loss_pages``: measure every loss and write docs/losses."""

from __future__ import annotations

import json
from pathlib import Path

from nnunet_losses import list_losses, notes

from . import measure
from .pages import pages
from .pictures import comparison_picture, epsilon_picture, loss_picture

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "losses"
CURVES = FOLDER / "curves.json"
EMPTIES = Path(notes.__file__).with_name("empties.json")

PANELS = (
    ("lesion alone in its patch", "alone"),
    ("beside a large lesion", "beside"),
)
SHOWN = ("ce", "dice", "focal", "tversky", "blob_dice_ce", "cc_dice_ce", "boundary", "hausdorff_one_sided")


def main() -> None:
    """Measure; write what was measured, pictures and pages; remove the pages of losses that are gone."""
    keys = list_losses()
    _write_rows(EMPTIES, {key: measure.empties(key) for key in keys})
    FOLDER.joinpath("pictures").mkdir(parents=True, exist_ok=True)
    curves = {key: measure.curves(key) for key in keys}
    _write_rows(CURVES, {"sizes": measure.sizes(), "epsilon": measure.epsilons()} | curves)
    measured = read_measured()
    texts = pages(measured) | {f"pictures/{name}": text for name, text in pictures(measured).items()}
    for name, text in texts.items():
        FOLDER.joinpath(name).write_text(text, encoding="utf-8")
    for path in [*FOLDER.glob("*.md"), *FOLDER.glob("pictures/*.svg")]:
        if path.relative_to(FOLDER).as_posix() not in texts:
            path.unlink()


def read_measured() -> measure.Record:
    """Read what was measured for pictures and pages."""
    record = json.loads(CURVES.read_text(encoding="utf-8"))
    return {"sizes": record.pop("sizes"), "epsilon": record.pop("epsilon"), "curves": record}


def pictures(measured: measure.Record) -> dict[str, str]:
    """Return every picture by its file name."""
    sizes, curves = measured["sizes"], measured["curves"]
    drawn = {f"{key}.svg": loss_picture(sizes, record) for key, record in curves.items()}
    drawn["comparison.svg"] = comparison_picture(sizes, curves, keys=SHOWN, groups=PANELS)
    drawn["epsilon.svg"] = epsilon_picture(measured["epsilon"]["masses"], measured["epsilon"]["pushes"])
    return drawn


def _write_rows(path: Path, record: measure.Record) -> None:
    """Write JSON with a line per entry, so that a change of one loss is a change of one line."""
    lines = [f"{json.dumps(name)}: {json.dumps(item)}" for name, item in record.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
