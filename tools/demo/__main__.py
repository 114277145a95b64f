"""``python -m tools.demo --output demo-output``, or ``make demo``."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console

from .console import Narrator
from .page import render
from .plan import FLAVOURS, Plan
from .process import Runner, StepFailed
from .road import environment
from .story import Story, summary

MARKER = ".nnunet-losses-demo"


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; 0 if every step succeeded and every expectation is met."""
    plan = _plan(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that still ends the started processes
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    start = perf_counter()
    try:
        claim(plan.output)
        runner = Runner(plan.output / "logs", environment(plan))
        narrator = Narrator(console)
        findings = Story(plan, runner, narrator).tell()
    except KeyboardInterrupt:
        console.print("Stopped; whatever it had started has ended.")
        return 130
    except (StepFailed, FileExistsError) as error:
        console.print(f"The demonstration failed. {error}", style="red", markup=False)
        return 1
    overview = plan.output / "overview.html"
    overview.write_text(render(findings, plan, runner.commands, seconds=perf_counter() - start), "utf-8")
    (plan.output / "overview.json").write_text(json.dumps(summary(findings), indent=2) + "\n", "utf-8")
    narrator.report(findings, overview)
    return 0 if all(expectation.met for expectation in findings.expectations) else 1


def _plan(arguments: list[str] | None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for everything")
    parser.add_argument("--dimension", type=int, choices=sorted(FLAVOURS), default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the images")
    given = parser.parse_args(arguments)
    return Plan(given.output.resolve(), FLAVOURS[given.dimension], given.seed)


def claim(folder: Path) -> None:
    """Make the output folder empty; a folder that is not the demonstration's own is left alone.

    Raises:
        FileExistsError: if the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise FileExistsError(
                f"{folder} holds files of somebody else. Choose another --output, or empty it."
            )
        shutil.rmtree(folder)
    elif folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Choose another --output.")
    (folder / "logs").mkdir(parents=True)
    (folder / MARKER).write_text(
        "Made by make demo, which empties this folder when it runs again.\n", "utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
