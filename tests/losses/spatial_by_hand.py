"""Values by pencil for the batch of ``test_golden``: p = 0.8 and 0.4, the truth is foreground, background."""

from __future__ import annotations

import math

CE = -(math.log(0.8) + math.log(0.6)) / 2
DICE = 1 - 1.6 / 2.2
DICE_OF_BACKGROUND = 1 - 1.2 / 1.8

# Both voxels are at distance 1 from the other side, in truth and prediction. One component: the first voxel.
SPATIAL_BY_HAND = {
    "dpce": ({}, 2 * CE),
    "boundary": ({}, (0.8 * 0 + 0.4 * 1) / 2),
    "dice_boundary": ({"smooth": 0, "schedule": "constant"}, DICE + 0.01 * 0.2),
    "hausdorff_dt": ({}, (0.2**2 + 0.4**2) * 2 / 2),
    "hausdorff_one_sided": ({}, (0.2**2 + 0.4**2) / 2),
    "hausdorff_er": ({}, 0),
    "dice_hausdorff": ({"smooth": 0}, DICE + 0.2),
    "generalized_surface": ({"smooth": 0}, 1 - 0.6**2),
    "marginal_dice": ({"smooth": 0}, (DICE + DICE_OF_BACKGROUND) / 2),
    "leaf_dice": ({"smooth": 0}, DICE),
    "blob_dice": ({"smooth": 0}, 3 * DICE),
    "blob_dice_ce": ({"smooth": 0}, 3 * (DICE + CE)),
    "cc_dice_ce": ({"smooth": 0, "w_global": 0.5}, 1.5 * (DICE + CE)),
    "cat_mil": ({"smooth": 0}, DICE + CE - 0.2 * math.log(0.8)),
    "cldice": ({"smooth": 0}, 0.5 * DICE + 0.5 * (1 - 2 * 0.8 / 1.8)),  # the skeleton of p is (0.4, 0)
    "skeleton_recall": ({"smooth": 0}, DICE + CE + 0.2),
}
