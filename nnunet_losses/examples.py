"""One line to copy for each command, shown under its ``--help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODEL = "nnUNet_results/Dataset501_X/nnUNetTrainerDiceTopK__nnUNetPlans__3d_fullres"

EXAMPLES: Mapping[str, str] = {
    "list": "nnunet-losses list 'dice_*'",
    "describe": "nnunet-losses describe dice_topk",
    "env": 'eval "$(nnunet-losses env)"',
    "enable": "nnunet-losses enable && nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerDiceTopK",
    "disable": "nnunet-losses disable",
    "doctor": "nnunet-losses doctor",
    "phantom": "nnunet-losses phantom nnUNet_raw --dimension 2 --dataset-id 902",
    "export": f"nnunet-losses export {_MODEL} my-bundle --folds 0 1",
    "variant": "nnunet-losses variant my-bundle bf16 --calibration-images IMAGES --calibration-labels LABELS",
    "triton": "nnunet-losses triton my-bundle repository",
    "verify": f"nnunet-losses verify my-bundle {_MODEL} IMAGES",
    "calibrate": "nnunet-losses calibrate my-bundle --raw nnUNet_raw/Dataset501_X --splits default",
    "recalibrate": "nnunet-losses recalibrate my-bundle --images CASES_OF_A_NEW_SITE --site NAME",
    "predict": "nnunet-losses predict my-bundle IMAGES --output MASKS",
    "inspect": "nnunet-losses inspect my-bundle",
    "evaluate": "nnunet-losses evaluate MASKS nnUNet_raw/Dataset501_X/labelsTs --output EVALUATION",
    "compare": "nnunet-losses compare 501 --losses dice_ce dice blob_dice_ce --folds 0 1 --output COMPARISON",
    "compare-cell": "nnunet-losses compare-cell COMPARISON 0",
    "compare-report": "nnunet-losses compare-report COMPARISON",
    "stress": "nnunet-losses stress my-bundle IMAGES --report REPORT",
    "bench": f"nnunet-losses bench my-bundle IMAGES --against {_MODEL}",
    "send": "nnunet-losses send case_0000.nii.gz --server http://127.0.0.1:8000 --output MASKS",
    "serve": "nnunet-losses serve my-bundle --port 8000",
    "keys": "nnunet-losses keys create radiology --file keys.json --days 365",
}
