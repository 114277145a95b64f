"""Writes docs/evidence; no figure is typed by hand.

    python -m benchmarks.evidence_pages                                                # only the pages
    python -m benchmarks.evidence_pages polyps --record polyps --hardware "2 cores"    # a finished comparison
    python -m benchmarks.evidence_pages phantoms --record evidence-phantoms --hardware "2 cores"
    python -m benchmarks.evidence_pages ms_lesions --record ms_lesions --hardware "2 cores"

The later forms keep the figures in ``benchmarks/results`` first, and draw the pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import lesions, phantoms, polyps
from .index import INDEX, PROTOCOL, indexed, ms_protocol, protocol

RUNS = {run.name: run for run in polyps.RUNS}
ASKED = {"phantoms": phantoms, lesions.NAME: lesions}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=[*RUNS, *ASKED], help="what was run")
    parser.add_argument("--record", type=Path, help="folder of the finished comparison")
    parser.add_argument("--hardware", help="what it ran on")
    given = parser.parse_args()
    if given.name and not (given.record and given.hardware):
        parser.error(f"{given.name} needs --record, its folder, and --hardware, what it ran on")
    if given.name in ASKED:
        ASKED[given.name].keep(given.record, given.hardware)
    elif given.name:
        polyps.keep(RUNS[given.name], given.record, given.hardware)
    write()


def write() -> None:
    """Write every page from the records that there are."""
    for run in polyps.RUNS:
        found = run.read()
        if found is not None:
            run.page.write_text(polyps.page(run, found), "utf-8")
    for asked in ASKED.values():
        record = asked.read()
        if record is not None:
            asked.PAGE.write_text(asked.page(record), "utf-8")
    INDEX.write_text(indexed(INDEX.read_text("utf-8")), "utf-8")
    PROTOCOL.write_text(protocol(PROTOCOL.read_text("utf-8")), "utf-8")
    lesions.PROTOCOL.write_text(ms_protocol(lesions.PROTOCOL.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
