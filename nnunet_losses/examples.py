"""One line to copy for each command, shown under its ``--help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# each fits a narrow terminal, where a second line would be copied as a command of its own
EXAMPLES: Mapping[str, str] = {
    "list": "nnunet-losses list 'dice_*'",
    "describe": "nnunet-losses describe dice_topk",
    "env": 'eval "$(nnunet-losses env)"',
    "enable": "nnunet-losses enable",
    "disable": "nnunet-losses disable",
    "doctor": "nnunet-losses doctor",
    "phantom": "nnunet-losses phantom nnUNet_raw --dimension 2 --dataset-id 902",
    "export": "nnunet-losses export TRAINED_MODEL my-bundle --folds 0 1",
    "variant": "nnunet-losses variant my-bundle bf16 --calibration-images IMAGES",
    "triton": "nnunet-losses triton my-bundle repository",
    "verify": "nnunet-losses verify my-bundle TRAINED_MODEL IMAGES",
    "calibrate": "nnunet-losses calibrate my-bundle --raw RAW_DATA --splits default",
    "recalibrate": "nnunet-losses recalibrate my-bundle --images CASES --site NAME",
    "predict": "nnunet-losses predict my-bundle IMAGES --output MASKS",
    "inspect": "nnunet-losses inspect my-bundle",
    "evaluate": "nnunet-losses evaluate MASKS REFERENCES --output EVALUATION",
    "compare": "nnunet-losses compare 501 --losses dice_ce dice --output COMPARISON",
    "compare-cell": "nnunet-losses compare-cell COMPARISON 0",
    "compare-report": "nnunet-losses compare-report COMPARISON",
    "stress": "nnunet-losses stress my-bundle IMAGES --report REPORT",
    "bench": "nnunet-losses bench my-bundle IMAGES --against TRAINED_MODEL",
    "send": "nnunet-losses send A_0000.nii.gz --server http://host:8000 -o MASKS",
    "serve": "nnunet-losses serve my-bundle --port 8000",
    "keys": "nnunet-losses keys create radiology --file keys.json --days 365",
}
