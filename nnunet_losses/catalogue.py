"""Every loss, in the order of the documentation. An entry here registers a loss; nothing else does."""

from __future__ import annotations

from dataclasses import replace
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
FP = Number("fp", 0.3, "weight of false positives")
FN = Number("fn", 0.7, "weight of false negatives")
WEIGHTING = Choice(
    "weighting", "square", "class weights 1/G^2, 1/G or 1", values=("square", "simple", "uniform")
)
GDICE = (WEIGHTING, PHI, SMOOTH, Flag("include_background", default=True, about="count channel 0"))
SMALL_SMOOTH = replace(SMOOTH, default=1e-7)
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
        key="sensitivity_specificity",
        trainer="SS",
        module="sensitivity_specificity:SensitivitySpecificityLoss",
        summary="Mean squared error on foreground and on background, weighted.",
        formula=r"w \frac{\sum (y-p)^2 y}{G + \epsilon} + (1-w) \frac{\sum (y-p)^2 (1-y)}{V - G + \epsilon}",
        reference="Brosch et al., Convolutional encoder networks for MS lesion segmentation, MICCAI 2015",
        url="https://doi.org/10.1007/978-3-319-24574-4_1",
        fields=region(Number("w", 0.05, "weight of the error on foreground", high=1.0), PHI),
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
        key="lovasz",
        trainer="Lovasz",
        module="lovasz:LovaszLoss",
        summary="Convex extension of the Jaccard loss, on sorted errors.",
        formula=r"\frac{1}{|C|} \sum_c \sum_j m_{(j)} (J_j - J_{j-1}), m = |y - p|",
        reference="Berman, Rannen Triki, Blaschko, The Lovasz-softmax loss, CVPR 2018",
        url="https://arxiv.org/abs/1705.08790",
        fields=(
            Choice("classes", "present", "classes that count", values=("present", "all")),
            Flag("per_image", default=False, about="sort within each image"),
        ),
        begins_on="ce",
        advice="The authors fine-tune networks that were trained with cross-entropy.",
        joined=False,
    ),
    LossSpec(
        key="tversky",
        trainer="Tversky",
        module="tversky:TverskyLoss",
        summary="Dice with separate weights of false positives and false negatives.",
        formula=r"1 - \frac{TP + \epsilon}{TP + w_{fp} FP + w_{fn} FN + \epsilon}",
        reference="Salehi, Erdogmus, Gholipour, Tversky loss, MLMI 2017",
        url="https://arxiv.org/abs/1706.05721",
        fields=region(FP, FN, PHI),
    ),
    LossSpec(
        key="focal_tversky",
        trainer="FocalTversky",
        module="tversky:FocalTverskyLoss",
        summary="Tversky loss to a power below 1, taken before the mean.",
        formula=r"(1 - T)^{1/\gamma}",
        reference="Abraham, Khan, A novel focal Tversky loss function, ISBI 2019",
        url="https://arxiv.org/abs/1810.07842",
        fields=region(FP, FN, Number("gamma", 4 / 3, "the exponent is 1/gamma", closed=False), PHI),
        minimum=None,  # 1e-7^(1/gamma), by the clamp
    ),
    LossSpec(
        key="asymmetric",
        trainer="Asym",
        module="tversky:AsymmetricLoss",
        summary="Tversky loss by one number: beta times more weight on recall than on precision.",
        formula=r"1 - \frac{TP + \epsilon}{TP + (\beta^2 FN + FP) / (1 + \beta^2) + \epsilon}",
        reference="Hashemi et al., Asymmetric loss functions for highly unbalanced lesion detection, 2018",
        url="https://arxiv.org/abs/1803.11078",
        fields=region(Number("beta", 1.5, "weight of recall against precision"), PHI),
    ),
    LossSpec(
        key="generalized_dice",
        trainer="GDice",
        module="generalized_dice:GeneralizedDiceLoss",
        summary="Dice over all classes at once, each weighted by its size.",
        formula=r"1 - \frac{2 \sum_c w_c TP_c + \epsilon}{\sum_c w_c (P_c + G_c) + \epsilon}",
        reference="Sudre et al., Generalised Dice overlap as a deep learning loss function, DLMIA 2017",
        url="https://arxiv.org/abs/1707.03237",
        fields=GDICE,
    ),
    LossSpec(
        key="penalty_gdice",
        trainer="PGDice",
        module="generalized_dice:PenaltyGDiceLoss",
        summary="Generalised Dice loss with a penalty on errors.",
        formula=r"\frac{L}{1 + k (1 - L)}",
        reference="Yang, Kweon, Kim, Major vessel segmentation on X-ray coronary angiography, MIDL 2019",
        url="https://openreview.net/forum?id=H1lTh8unKN",
        fields=(Number("k", 2.5, "strength of the penalty"), *GDICE),
    ),
    LossSpec(
        key="exp_log",
        trainer="ExpLog",
        module="exp_log:ExpLogLoss",
        summary="Powers of the logarithms of Dice and of probability.",
        formula=r"w_{dice} \overline{(-\log D_c)^\gamma} + w_{ce} \overline{w_t (-\log p_t)^\gamma}",
        reference="Wong et al., 3D segmentation with exponential logarithmic loss, MICCAI 2018",
        url="https://arxiv.org/abs/1809.00076",
        fields=(
            Number("w_dice", 0.8, "weight of Dice"),
            Number("w_ce", 0.2, "weight of cross-entropy"),
            Number("gamma", 0.3, "exponent", closed=False),
            PerClass(
                "class_frequencies", None, "voxels of each class in the training set; None: in the batch"
            ),
            PHI,
            replace(SMOOTH, closed=False),
            INCLUDE_BACKGROUND,
        ),
        needs=frozenset({"class_frequencies"}),
        minimum=None,  # the floors to the power gamma
    ),
    LossSpec(
        key="combo",
        trainer="Combo",
        module="combo:ComboLoss",
        summary="Binary cross-entropy weighted by side, minus the Dice score.",
        formula=r"\alpha\, \overline{-\beta y \log p - (1-\beta)(1-y) \log(1-p)} - (1-\alpha) D",
        reference="Taghanaki et al., Combo loss, Computerized Medical Imaging and Graphics 2019",
        url="https://arxiv.org/abs/1805.02798",
        fields=region(
            Number("alpha", 0.5, "weight of cross-entropy; Dice has 1 - alpha", high=1.0),
            Number("beta", 0.5, "weight of foreground in the cross-entropy", high=1.0),
        ),
        minimum=None,  # alpha - 1
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
    LossSpec(
        key="ce_dice",
        trainer="CEDice",
        module="ce_dice:CEDiceLoss",
        summary="Mean of cross-entropy and Dice.",
        formula=r"\frac{1}{2}(L_{CE} + L_{Dice})",
        reference="Galdran et al., On the optimal combination of cross-entropy and soft Dice losses, 2022",
        url="https://arxiv.org/abs/2209.06078",
        fields=region(),
    ),
    LossSpec(
        key="ce_to_dice_linear",
        trainer="CEToDiceLinear",
        module="ce_dice:CEToDiceLinearLoss",
        summary="From cross-entropy in the first epoch to Dice in the last.",
        formula=r"a L_{CE} + (1-a) L_{Dice}, a = 1 - \frac{epoch}{epochs - 1}",
        reference="Galdran et al., On the optimal combination of cross-entropy and soft Dice losses, 2022",
        url="https://arxiv.org/abs/2209.06078",
        fields=region(),
        needs=frozenset({"schedule"}),
    ),
    LossSpec(
        key="ce_to_dice_finetune",
        trainer="CEToDiceFinetune",
        module="ce_dice:CEToDiceFinetuneLoss",
        summary="Cross-entropy, and Dice in the last epochs.",
        formula=r"L_{CE}\ \text{while}\ epoch < fraction \cdot epochs,\ \text{then}\ L_{Dice}",
        reference="Galdran et al., On the optimal combination of cross-entropy and soft Dice losses, 2022",
        url="https://arxiv.org/abs/2209.06078",
        fields=region(Number("fraction", 0.9, "share of the epochs on cross-entropy", high=1.0)),
        needs=frozenset({"schedule"}),
    ),
    LossSpec(
        key="dice_image",
        trainer="DiceI",
        module="dice:DiceImageLoss",
        summary="Soft Dice with sums per sample and class (phi I) and a small epsilon.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}",
        reference="Tilborghs et al., The Dice loss in the context of missing or empty labels, MICCAI 2022",
        url="https://arxiv.org/abs/2207.09521",
        fields=(SMALL_SMOOTH, INCLUDE_BACKGROUND),
    ),
    LossSpec(
        key="dice_class",
        trainer="DiceCI",
        module="dice:DiceClassLoss",
        summary="Soft Dice with sums per sample (phi CI) and a small epsilon.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}",
        reference="Tilborghs et al., The Dice loss in the context of missing or empty labels, MICCAI 2022",
        url="https://arxiv.org/abs/2207.09521",
        fields=(SMALL_SMOOTH, INCLUDE_BACKGROUND),
    ),
    LossSpec(
        key="dice_batch",
        trainer="DiceBI",
        module="dice:DiceBatchLoss",
        summary="Soft Dice with sums per class over the batch (phi BI) and a small epsilon.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}",
        reference="Tilborghs et al., The Dice loss in the context of missing or empty labels, MICCAI 2022",
        url="https://arxiv.org/abs/2207.09521",
        fields=(SMALL_SMOOTH, INCLUDE_BACKGROUND),
    ),
    LossSpec(
        key="dice_all",
        trainer="DiceBCI",
        module="dice:DiceAllLoss",
        summary="Soft Dice with sums over the whole batch (phi BCI) and a small epsilon.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}",
        reference="Tilborghs et al., The Dice loss in the context of missing or empty labels, MICCAI 2022",
        url="https://arxiv.org/abs/2207.09521",
        fields=(SMALL_SMOOTH, INCLUDE_BACKGROUND),
    ),
    LossSpec(
        key="dice_image_eps",
        trainer="DiceIEps",
        module="dice:DiceImageEpsilonLoss",
        summary="Soft Dice with sums per sample and class (phi I) and the heuristic epsilon of each class.",
        formula=r"1 - \frac{2\,TP + \epsilon_c}{P + G + \epsilon_c}, \epsilon_c = \overline{G_c}",
        reference="Tilborghs et al., The Dice loss in the context of missing or empty labels, MICCAI 2022",
        url="https://arxiv.org/abs/2207.09521",
        fields=(
            PerClass(
                "smooth", None, "epsilon of each channel: its mean voxels per patch; None: 1e-5 for all"
            ),
            INCLUDE_BACKGROUND,
        ),
        needs=frozenset({"epsilon"}),
    ),
    LossSpec(
        key="unified_focal",
        trainer="UnifiedFocal",
        module="unified_focal:UnifiedFocalLoss",
        summary="Focal cross-entropy and focal Tversky loss that treat background apart.",
        formula=r"\lambda L_{aFT} + (1 - \lambda) L_{aF}",
        reference="Yeung et al., Unified focal loss, Computerized Medical Imaging and Graphics 2022",
        url="https://arxiv.org/abs/2102.04525",
        fields=(
            Number("delta", 0.6, "weight of false negatives and of foreground", high=1.0),
            Number("gamma", 0.5, "suppression of background, enhancement of foreground", high=1.0),
            Number("weight", 0.5, "share of the Tversky part", high=1.0),
            SMOOTH,
        ),
        minimum=None,  # the floor to the power 1 - gamma
    ),
    LossSpec(
        key="boundary_dou",
        trainer="BoundaryDoU",
        module="boundary_dou:BoundaryDoULoss",
        summary="Difference over a union that leaves out the more of the inside, the larger the object.",
        formula=r"\frac{Q - 2\,TP + \epsilon}{Q - (1+a)\,TP + \epsilon}, Q = \sum p^2 + \sum y^2",
        reference="Sun, Luo, Li, Boundary difference over union loss, MICCAI 2023",
        url="https://arxiv.org/abs/2308.00220",
        fields=region(PHI),
    ),
)
