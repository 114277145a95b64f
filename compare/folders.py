"""nnU-Net's three folders of a comparison, and the environment in which its processes run."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class NnunetFolders(BaseModel):
    """Where nnU-Net reads; results lie in the folder of each cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: Path
    preprocessed: Path

    @staticmethod
    def of_environment() -> NnunetFolders | None:
        """Those that the user has set, if both are."""
        found = [os.environ.get(f"nnUNet_{kind}") for kind in ("raw", "preprocessed")]
        if None in found:
            return None
        raw, preprocessed = (Path(str(folder)).resolve() for folder in found)
        return NnunetFolders(raw=raw, preprocessed=preprocessed)

    @staticmethod
    def inside(output: Path) -> NnunetFolders:
        """Those of a comparison of a data set that is not in the user's."""
        folder = output.resolve() / "nnunet"
        return NnunetFolders(raw=folder / "raw", preprocessed=folder / "preprocessed")

    def environment(self, results: Path, *, threads: int = 1) -> dict[str, str]:
        """Environment variables of a process that calls nnU-Net."""
        return {
            **os.environ,
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(results.resolve()),
            "nnUNet_compile": "false",  # compiling takes longer than it saves in most comparisons
            "OMP_NUM_THREADS": str(threads),
            "nnUNet_def_n_proc": str(threads),  # threads with which nnU-Net predicts on the CPU
            "OMP_WAIT_POLICY": "PASSIVE",
        }
