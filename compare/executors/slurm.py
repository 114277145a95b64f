"""Cells as an array of Slurm jobs: a script to look at, change and submit."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.compare.study import Study

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=nnunet-losses-compare
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={cpus}
#SBATCH --output={log}
#SBATCH --requeue
{gpu}# Partition, time and memory are your cluster's: add them here or give them to sbatch.
# A requeued or resubmitted job goes on from its last epoch; finished cells end at once.
cells=(
{cells}
)
nnunet-losses compare-cell {output} "${{cells[$SLURM_ARRAY_TASK_ID]}}" --workers {workers}

# When all are done:
#   nnunet-losses compare-report {output}
"""


def slurm_script(output: Path, study: Study, *, workers: int) -> str:
    """Write the script of the job array; each job is one cell of ``study.cells``.

    The script names them: cells that are added later change their numbers.
    """
    folder = output.resolve()
    return _SCRIPT.format(
        last=len(study.cells) - 1,
        cpus=study.settings.threads + workers,
        log=shlex.quote(str(folder / "slurm-%a.log")),
        gpu="#SBATCH --gres=gpu:1\n" if study.settings.device == "cuda" else "",
        output=shlex.quote(str(folder)),
        workers=workers,
        cells="\n".join(cell.name for cell in study.cells),
    )
