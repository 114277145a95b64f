"""Every loss, in the order of the documentation. An entry here registers a loss; nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import Choice, Flag, LossSpec, Number, NumberOrPerClass, PerClass

if TYPE_CHECKING:
    from .spec import Parameter

PHI = Choice(
    "phi",
    "I",
    "sums run per: 'I' sample and class, 'CI' sample, 'BI' class (over the batch), 'BCI' nothing (over all)",
    values=("I", "CI", "BI", "BCI"),
)
SMOOTH = Number("smooth", 1e-5, "epsilon, added once to the numerator and once to the denominator")
INCLUDE_BACKGROUND = Flag(
    "include_background",
    None,
    "count channel 0; None: under sigmoid, whose channels are all foreground, but not under softmax",
)
TOPK = Number("k", 0.1, "share of the voxels that counts, the worst ones", high=1.0, closed=False)
GAMMA = Number("gamma", 2.0, "focusing exponent; 0 is cross-entropy")
ALPHA = NumberOrPerClass(
    "alpha",
    None,
    "one number: weight of foreground, 1 - alpha of background; one per class (softmax only): its weight",
    high=1.0,
)


def region(*own: Parameter) -> tuple[Parameter, ...]:
    """Append what every region loss and every compound with a Dice part takes, unless the table orders it."""
    return own + tuple(item for item in (PHI, SMOOTH, INCLUDE_BACKGROUND) if item not in own)


CATALOGUE: tuple[LossSpec, ...] = (
    LossSpec(
        key="ce",
        trainer="CE",
        module="cross_entropy:CrossEntropyLoss",
        summary="Cross-entropy: mean over valid voxels; under sigmoid over voxels and channels.",
        formula=r"-\frac{1}{V}\sum_i \log p_{i,t(i)}",
        reference="Ma et al., Loss odyssey in medical image segmentation, MedIA 2021",
        url="https://doi.org/10.1016/j.media.2021.102035",
    ),
    LossSpec(
        key="weighted_ce",
        trainer="WCE",
        module="cross_entropy:WeightedCrossEntropyLoss",
        summary="Cross-entropy with one weight per class, divided by the sum of the weights.",
        formula=r"\frac{\sum_i w_{t(i)} (-\log p_{i,t(i)})}{\sum_i w_{t(i)}}",
        reference="Ronneberger et al., U-Net, MICCAI 2015",
        url="https://arxiv.org/abs/1505.04597",
        fields=(PerClass("class_weights", None, "one weight per channel; None: all 1"),),
        needs=frozenset({"class_weights"}),
    ),
    LossSpec(
        key="topk",
        trainer="TopK",
        module="cross_entropy:TopKLoss",
        summary="Mean of the largest voxel cross-entropies of the batch.",
        formula=r"\frac{1}{K}\sum_{i \in \text{top } K} -\log p_{i,t(i)}, K = \max(1, \lfloor k V \rfloor)",
        reference="Wu, Shen, van den Hengel, Bridging category-level and instance-level segmentation, 2016",
        url="https://arxiv.org/abs/1605.06885",
        fields=(TOPK,),
        joined=False,
    ),
    LossSpec(
        key="focal",
        trainer="Focal",
        module="focal:FocalLoss",
        summary="Cross-entropy that fades where the prediction is already right.",
        formula=r"\frac{1}{V}\sum_i \alpha_{t(i)} (1 - p_{i,t(i)})^\gamma (-\log p_{i,t(i)})",
        reference="Lin et al., Focal loss for dense object detection, ICCV 2017",
        url="https://arxiv.org/abs/1708.02002",
        fields=(GAMMA, ALPHA),
    ),
    LossSpec(
        key="dice",
        trainer="Dice",
        module="dice:DiceLoss",
        summary="Soft Dice loss.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}",
        reference="Drozdzal et al., 2016; squared: Milletari et al., V-Net, 3DV 2016",
        url="https://arxiv.org/abs/1608.04117",
        fields=region(PHI, Flag("squared", default=False, about="V-Net: P and G are sums of squares")),
    ),
    LossSpec(
        key="iou",
        trainer="IoU",
        module="iou:IoULoss",
        summary="Soft Jaccard loss.",
        formula=r"1 - \frac{TP + \epsilon}{P + G - TP + \epsilon}",
        reference="Rahman, Wang, Optimizing intersection-over-union in deep neural networks, ISVC 2016",
        url="https://doi.org/10.1007/978-3-319-50835-1_22",
        fields=region(PHI),
    ),
    LossSpec(
        key="tversky",
        trainer="Tversky",
        module="tversky:TverskyLoss",
        summary="Dice with separate weights of false positives and false negatives.",
        formula=r"1 - \frac{TP + \epsilon}{TP + w_{fp} FP + w_{fn} FN + \epsilon}",
        reference="Salehi, Erdogmus, Gholipour, Tversky loss, MLMI 2017",
        url="https://arxiv.org/abs/1706.05721",
        fields=region(
            Number("fp", 0.3, "weight of false positives"),
            Number("fn", 0.7, "weight of false negatives"),
            PHI,
        ),
    ),
    LossSpec(
        key="dice_ce",
        trainer="DiceCE",
        module="compound:DiceCELoss",
        summary="Weighted sum of Dice and cross-entropy, nnU-Net's default.",
        formula=r"w_{dice} L_{Dice} + w_{ce} L_{CE}",
        reference="Isensee et al., nnU-Net, Nature Methods 2021",
        url="https://doi.org/10.1038/s41592-020-01008-z",
        fields=region(
            Number("w_dice", 1.0, "weight of Dice"), Number("w_ce", 1.0, "weight of cross-entropy")
        ),
    ),
    LossSpec(
        key="dice_focal",
        trainer="DiceFocal",
        module="compound:DiceFocalLoss",
        summary="Sum of Dice and focal loss.",
        formula=r"L_{Dice} + L_{Focal}",
        reference="Zhu et al., AnatomyNet, Medical Physics 2019",
        url="https://arxiv.org/abs/1808.05238",
        fields=region(GAMMA, ALPHA),
    ),
    LossSpec(
        key="dice_topk",
        trainer="DiceTopK",
        module="compound:DiceTopKLoss",
        summary="Sum of Dice and TopK cross-entropy.",
        formula=r"L_{Dice} + L_{TopK}",
        reference="Ma et al., Loss odyssey in medical image segmentation, MedIA 2021",
        url="https://doi.org/10.1016/j.media.2021.102035",
        fields=region(TOPK),
        joined=False,
    ),
)
