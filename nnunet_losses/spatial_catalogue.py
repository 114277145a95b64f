"""The losses that look beyond single voxels, or at partial labels: the second part of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalogue import PHI, SMOOTH, region
from .spec import Choice, LossSpec, Number, Spacing

if TYPE_CHECKING:
    from .spec import Need

SPACING = Spacing("spacing", None, "distance between voxel centres along each axis; None: 1")
HAUSDORFF_ALPHA = Number("alpha", 2.0, "exponent of the distance")
W_GLOBAL = Number("w_global", 2.0, "weight of the loss on everything")
W_BLOB = Number("w_blob", 1.0, "weight of the mean over components")
BESIDE_DICE = "The authors train it beside Dice, from scratch never alone: see dice_hausdorff."
GEOMETRY: frozenset[Need] = frozenset({"geometry"})
SCHEDULED: frozenset[Need] = frozenset({"geometry", "schedule"})

SPATIAL: tuple[LossSpec, ...] = (
    LossSpec(
        key="dpce",
        trainer="DPCE",
        module="boundary:DistancePenalizedCrossEntropyLoss",
        summary="Cross-entropy, doubled at the boundary of each class, plain in its depth.",
        formula=r"\frac{1}{V}\sum_i (1 + w_i) (-\log p_{i,t(i)}), w = \frac{\max d - d}{\max d - \min d}",
        reference="Ma et al., Loss odyssey, MedIA 2021; after Caliva et al., Distance map loss, MIDL 2019",
        url="https://doi.org/10.1016/j.media.2021.102035",
        fields=(SPACING,),
        needs=GEOMETRY,
        geometry=("boundary_proximity",),
    ),
    LossSpec(
        key="boundary",
        trainer="Boundary",
        module="boundary:BoundaryLoss",
        summary="Mean of the probability times the signed distance to the true boundary.",
        formula=r"\frac{1}{V |C|}\sum_{i,c} p_{i,c} \phi_{i,c}",
        reference="Kervadec et al., Boundary loss for highly unbalanced segmentation, MedIA 2021",
        url="https://doi.org/10.1016/j.media.2020.101851",
        fields=(SPACING,),
        needs=GEOMETRY,
        geometry=("signed_distance",),
        minimum=None,
        begins_on="dice",
        advice="The authors train it beside a region loss, from scratch never alone: see dice_boundary.",
    ),
    LossSpec(
        key="dice_boundary",
        trainer="DiceBoundary",
        module="boundary:DiceBoundaryLoss",
        summary="Dice and boundary loss, the weight moving from the first to the second.",
        formula=r"a L_{Dice} + (1 - a) L_{Boundary}, a = \max(0.01, 1 - 0.01\,epoch)",
        reference="Kervadec et al., Boundary loss for highly unbalanced segmentation, MedIA 2021",
        url="https://doi.org/10.1016/j.media.2020.101851",
        fields=region(
            Choice(
                "schedule",
                "rebalance",
                "'rebalance': by 0.01 an epoch; 'rebalance_relative': over the whole training; 'constant': "
                "Dice + 0.01 Boundary; 'increase': Dice + 0.01 (epoch + 1) Boundary",
                values=("rebalance", "rebalance_relative", "constant", "increase"),
            ),
            SPACING,
        ),
        needs=SCHEDULED,
        geometry=("signed_distance",),
        minimum=None,
        advice="The authors move the weight by 0.01 an epoch; 'rebalance_relative' fits any training.",
    ),
    LossSpec(
        key="hausdorff_dt",
        trainer="HausdorffDT",
        module="hausdorff:HausdorffDTLoss",
        summary="Squared error times the distances to the true and to the predicted boundary.",
        formula=r"\frac{1}{V |C|}\sum_{i,c} (p - y)^2 (d_G^\alpha + d_P^\alpha)",
        reference="Karimi, Salcudean, Reducing the Hausdorff distance, IEEE TMI 2020",
        url="https://doi.org/10.1109/TMI.2019.2930068",
        fields=(HAUSDORFF_ALPHA, SPACING),
        needs=GEOMETRY,
        geometry=("distance",),
        begins_on="dice",
        advice=BESIDE_DICE,
    ),
    LossSpec(
        key="hausdorff_one_sided",
        trainer="HausdorffOneSided",
        module="hausdorff:HausdorffOneSidedLoss",
        summary="Squared error times the distance to the true boundary.",
        formula=r"\frac{1}{V |C|}\sum_{i,c} (p - y)^2 d_G^\alpha",
        reference="Karimi, Salcudean, Reducing the Hausdorff distance, IEEE TMI 2020",
        url="https://doi.org/10.1109/TMI.2019.2930068",
        fields=(HAUSDORFF_ALPHA, SPACING),
        needs=GEOMETRY,
        geometry=("distance",),
        begins_on="dice",
        advice=BESIDE_DICE,
    ),
    LossSpec(
        key="hausdorff_er",
        trainer="HausdorffER",
        module="hausdorff:HausdorffErosionLoss",
        summary="Squared error that survives erosions, the more of them the heavier.",
        formula=r"\frac{1}{V |C|}\sum_{i,c} \sum_k e_k (k + 1)^\alpha",
        reference="Karimi, Salcudean, Reducing the Hausdorff distance, IEEE TMI 2020",
        url="https://doi.org/10.1109/TMI.2019.2930068",
        fields=(
            Number("erosions", 10, "number of erosions", low=1, whole=True),
            Number("alpha", 2.0, "exponent of the number of erosions"),
        ),
        begins_on="dice",
        advice=BESIDE_DICE,
    ),
    LossSpec(
        key="dice_hausdorff",
        trainer="DiceHausdorff",
        module="hausdorff:DiceHausdorffLoss",
        summary="Dice and two-sided Hausdorff loss, Dice scaled to the other's mean of the last epoch.",
        formula=r"a L_{Dice} + L_{HausdorffDT}, a = \bar L_{HausdorffDT} / \bar L_{Dice}",
        reference="Karimi, Salcudean, Reducing the Hausdorff distance, IEEE TMI 2020",
        url="https://doi.org/10.1109/TMI.2019.2930068",
        fields=region(
            Choice(
                "schedule", "ratio", "'ratio': a is the ratio of the last epoch's means", values=("ratio",)
            ),
            SPACING,
        ),
        needs=SCHEDULED,
        geometry=("distance",),
        advice="The authors take the ratio of the means anew after every epoch.",
    ),
    LossSpec(
        key="generalized_surface",
        trainer="GSL",
        module="boundary:GeneralizedSurfaceLoss",
        summary="Boundary loss normalised to [0, 1].",
        formula=r"1 - \frac{\sum (D (1 - (y + p)))^2 + \epsilon}{\sum D^2 + \epsilon}",
        reference="Celaya et al., A generalized surface loss, 2023",
        url="https://arxiv.org/abs/2302.03868",
        fields=(SMOOTH, SPACING),
        needs=GEOMETRY,
        geometry=("signed_distance",),
    ),
    LossSpec(
        key="marginal_dice",
        trainer="MarginalDice",
        module="partial:MarginalDiceLoss",
        summary="Dice for partial labels: unlabelled classes are part of the background.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}, p_0 \leftarrow p_0 + \sum_{unlabelled} p_c",
        reference="Shi et al., Marginal loss and exclusion loss, MedIA 2021",
        url="https://doi.org/10.1016/j.media.2021.101979",
        fields=(SMOOTH,),
        needs=frozenset({"labelled"}),
        activations=("softmax",),
    ),
    LossSpec(
        key="leaf_dice",
        trainer="LeafDice",
        module="partial:LeafDiceLoss",
        summary="Dice for partial labels: over the labelled classes only.",
        formula=r"1 - \frac{2\,TP + \epsilon}{P + G + \epsilon}, c\ labelled",
        reference="Fidon et al., Label-set loss functions for partial supervision, MICCAI 2021",
        url="https://arxiv.org/abs/2107.03846",
        fields=(SMOOTH,),
        needs=frozenset({"labelled"}),
    ),
    LossSpec(
        key="blob_dice",
        trainer="BlobDice",
        module="instance:BlobDiceLoss",
        summary="Dice on everything and Dice on each connected component.",
        formula=r"w_{global} L + w_{blob} \frac{1}{K}\sum_k L(\Omega \setminus \bigcup_{j \neq k} c_j)",
        reference="Kofler et al., blob loss: instance imbalance aware loss functions, IPMI 2023",
        url="https://arxiv.org/abs/2205.08209",
        fields=region(W_GLOBAL, W_BLOB),
        needs=GEOMETRY,
        geometry=("components",),
    ),
    LossSpec(
        key="blob_dice_ce",
        trainer="BlobDiceCE",
        module="instance:BlobDiceCELoss",
        summary="Dice and cross-entropy on everything and on each connected component.",
        formula=r"w_{global} L + w_{blob} \frac{1}{K}\sum_k L(\Omega \setminus \bigcup_{j \neq k} c_j)",
        reference="Kofler et al., blob loss: instance imbalance aware loss functions, IPMI 2023",
        url="https://arxiv.org/abs/2205.08209",
        fields=region(W_GLOBAL, W_BLOB),
        needs=GEOMETRY,
        geometry=("components",),
    ),
    LossSpec(
        key="cc_dice_ce",
        trainer="CCDiceCE",
        module="instance:CellDiceCELoss",
        summary="Dice and cross-entropy on the Voronoi cell of each connected component.",
        formula=r"\frac{1}{K}\sum_k L(R_k) + w_{global} L",
        reference="Bouteille et al., Connected-component losses, 2025",
        url="https://arxiv.org/abs/2511.17146",
        fields=region(Number("w_global", 0.0, "weight of Dice + cross-entropy on everything"), SPACING),
        needs=GEOMETRY,
        geometry=("cells",),
    ),
    LossSpec(
        key="cat_mil",
        trainer="CATMIL",
        module="instance:CATMILLoss",
        summary="Dice, cross-entropy, a Tversky loss for small components, their highest probabilities.",
        formula=(
            r"L_{DiceCE} + w_{cat} \min(1, \tfrac{epoch}{warmup}) L_{CAT}"
            r" + w_{mil} \frac{1}{K}\sum_k -\log \max_{c_k} p"
        ),
        reference="Luu et al., Component-adaptive and lesion-level supervision, 2026",
        url="https://arxiv.org/abs/2604.08015",
        fields=region(
            Number("w_cat", 0.1, "weight of the component-adaptive Tversky loss"),
            Number("w_mil", 0.2, "weight of the highest probabilities"),
            Number("warmup", 50, "epochs over which w_cat rises from 0", whole=True),
        ),
        needs=SCHEDULED,
        geometry=("lesions",),
        regions=1,
    ),
    LossSpec(
        key="cldice",
        trainer="DiceClDice",
        module="topology:ClDiceLoss",
        summary="Dice and centreline Dice, for tubular structures.",
        formula=r"(1 - \alpha) L_{Dice} + \alpha (1 - \frac{2\,T_p T_s}{T_p + T_s})",
        reference="Shit et al., clDice, CVPR 2021",
        url="https://arxiv.org/abs/2003.07311",
        fields=region(
            Number(
                "iterations",
                10,
                "of the soft skeleton: more than the largest radius in voxels",
                low=1,
                whole=True,
            ),
            Number("alpha", 0.5, "share of centreline Dice", high=1.0),
        ),
        needs=GEOMETRY,
        geometry=("soft_skeleton",),
    ),
    LossSpec(
        key="skeleton_recall",
        trainer="SkeletonRecall",
        module="topology:SkeletonRecallLoss",
        summary="Dice, cross-entropy and the recall of a tube around the skeleton.",
        formula=r"L_{DiceCE} + 1 - \frac{\sum p t + \epsilon}{\sum t + \epsilon}",
        reference="Kirchhoff et al., Skeleton Recall loss, ECCV 2024",
        url="https://arxiv.org/abs/2404.03010",
        fields=region(PHI),
        needs=GEOMETRY,
        geometry=("skeleton_tube",),
    ),
)
