"""The bundle's ``model.json``: the one description from which everything is run.

Every function is named by an enum that the runtime knows, never by a Python path. An unknown value, and an
unknown field, is a refusal to load: a runtime that does not understand a model must not guess.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1


class Frozen(BaseModel):
    """Immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reader(StrEnum):
    """nnU-Net's readers, by nnU-Net's names."""

    SIMPLE_ITK = "SimpleITKIO"
    SIMPLE_ITK_REORIENT = "SimpleITKIOWithReorient"
    NIBABEL = "NibabelIO"
    NIBABEL_REORIENT = "NibabelIOWithReorient"
    TIFF_3D = "Tiff3DIO"
    NATURAL_IMAGE_2D = "NaturalImage2DIO"


class Normalization(StrEnum):
    """nnU-Net's normalisation schemes."""

    CT = "CTNormalization"
    Z_SCORE = "ZScoreNormalization"
    NONE = "NoNormalization"
    RESCALE_0_1 = "RescaleTo01Normalization"
    RGB_0_1 = "RGBTo01Normalization"


class Head(StrEnum):
    """How logits become labels: arg max over all labels, or one threshold per overlapping region."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Channel(Frozen):
    """One input channel, with how it is normalised."""

    name: str
    normalization: Normalization
    use_mask: bool = False  # statistics over, and changes to, the nonzero region only
    # training statistics of the foreground; CT normalisation needs them
    mean: float | None = None
    std: float | None = None
    percentile_00_5: float | None = None
    percentile_99_5: float | None = None


class Label(Frozen):
    """One label of the answer. Background is not listed.

    ``value`` is what the mask holds where this label is written. Under softmax, ``channel`` equals the value.
    Under sigmoid, channel i is region i, and regions are painted in this order (later ones on top);
    ``members`` are the mask values of which the region consists.
    """

    name: str
    channel: int = Field(ge=0)
    value: int = Field(ge=1)
    members: tuple[int, ...]


class Resampling(Frozen):
    """``resample_data_or_seg_to_shape`` of nnU-Net with its arguments."""

    function: Literal["resample_data_or_seg_to_shape"] = "resample_data_or_seg_to_shape"
    order: Literal[0, 1, 3]
    order_z: Literal[0, 1, 3] = 0
    force_separate_z: bool | None = None


class LabelResampling(Frozen):
    """``resize_segmentation`` under nnU-Net's ``resample_data_or_seg_to_shape``: the label map of a cascade.

    Order 1 interpolates each label by itself; the largest share wins, the nearest voxel settles ties.
    """

    function: Literal["resize_segmentation"] = "resize_segmentation"
    order: Literal[0, 1]
    order_z: Literal[0] = 0
    force_separate_z: bool | None = None


class Preprocessing(Frozen):
    """nnU-Net's DefaultPreprocessor: transpose, crop to nonzero, normalise, resample."""

    transpose_forward: tuple[int, int, int]
    spacing: tuple[float, ...]  # transposed order, millimetres; 2 entries for a 2D configuration
    channels: tuple[Channel, ...]
    resampling_image: Resampling
    resampling_logits: Resampling
    resampling_labels: LabelResampling | None = None  # of the previous stage's mask, in a cascade


class Tiling(Frozen):
    """Sliding window as nnU-Net does it."""

    patch_size: tuple[int, ...]  # 2 or 3 entries
    step_size: float = Field(default=0.5, gt=0, le=1)
    gaussian: bool = True
    mirror_axes: tuple[int, ...] = ()  # spatial axes of the patch


class Fold(Frozen):
    """One network file."""

    name: str  # "0" .. "4" or "all"
    file: str  # relative to the bundle
    sha256: str
    checkpoint_sha256: str


class Moment(StrEnum):
    """Statistics over space of an encoder stage.

    Of its last convolution, before anything normalises it, and of what the stage hands on: right behind an
    instance normalisation the moments are constants of the network.
    """

    CONVOLUTION_MEAN = "convolution_mean"
    CONVOLUTION_DEVIATION = "convolution_deviation"
    OUTPUT_MEAN = "output_mean"
    OUTPUT_DEVIATION = "output_deviation"


class FeatureStage(Frozen):
    """Pooled features of one encoder stage: an output (batch, channels) of the network."""

    output: str
    channels: int  # of the output: the stage's own, for each moment after the other
    moments: tuple[Moment, ...] = (Moment.OUTPUT_MEAN,)


class Member(Frozen):
    """One trained configuration: its folds share everything but the weights; their logits are averaged.

    In a cascade, ``previous_stage`` names the member whose mask is appended to the channels, one for each
    foreground value. A member that is not ``averaged`` only serves as such a previous stage.
    """

    name: str  # nnU-Net's configuration name; the model folder's name where two members share one
    folds: tuple[Fold, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    tiling: Tiling
    features: tuple[FeatureStage, ...] = ()
    previous_stage: str | None = None
    averaged: bool = True


class KeepLargest(Frozen):
    """``remove_all_but_largest_component_from_segmentation`` of nnU-Net.

    Voxels of these mask values count together, 26 neighbours connect them (8 in a picture); all but the
    largest component become ``background``. Components of the same largest size all stay.
    """

    function: Literal["remove_all_but_largest_component"] = "remove_all_but_largest_component"
    values: tuple[int, ...] = Field(min_length=1)
    background: int = Field(default=0, ge=0)


class Fingerprint(Frozen):
    """What the training images were like, from dataset_fingerprint.json. Array order (z, y, x)."""

    n_cases: int
    spacing_min: tuple[float, ...]
    spacing_median: tuple[float, ...]
    spacing_max: tuple[float, ...]
    shape_min: tuple[int, ...]
    shape_median: tuple[float, ...]
    shape_max: tuple[int, ...]


class Training(Frozen):
    """How the model was trained, as far as its files say."""

    trainer: str
    dataset: str
    epochs: int | None = None
    loss: str | None = None  # key of the catalogue; None for foreign trainers
    loss_parameters: dict[str, str | float | int | bool | None] = Field(default_factory=dict)
    phi: str | None = None  # reduction of the Dice part: what the loss does with empty labels
    smooth: float | None = None
    validation_dice: dict[str, float] = Field(default_factory=dict)  # label -> mean, from summary.json


class Golden(Frozen):
    """The self-test: an input file, the expected mask and logits of the first tile."""

    inputs: tuple[str, ...]  # relative files, one per input file of a case
    mask: str
    tile_input: str  # .npy float32 (1, channels, *patch)
    tile_logits: str  # .npy float32 (heads, voxels), of the first fold, by PyTorch
    logits_stride: int = Field(default=1, ge=1)  # tile_logits holds every so many voxels of the flat tile
    # the self-test passes where logits agree to this share of their range, and voxels whose two best
    # logits are further apart than the margin agree
    logits_tolerance: float = 1e-3
    margin: float = 0.1


class Provenance(Frozen):
    """Where the bundle comes from."""

    created: str  # ISO 8601, UTC
    exporter: str  # nnunet-losses version
    nnunetv2: str
    torch: str
    onnx: str
    opset: int


class Parity(Frozen):
    """What ``verify`` measured: the bundle against nnU-Net's own predictor."""

    passed: bool
    created: str
    reference: str  # e.g. "nnunetv2 2.8.1, torch 2.13.0, cpu"
    backend: str
    cases: int
    tiles: int
    max_tile_difference: float  # share of the logits' range
    differing_voxels: int
    differing_voxels_beyond_margin: int
    voxels: int
    dice: dict[str, float]  # per label, pooled over cases
    failures: tuple[str, ...] = ()


class Precision(StrEnum):
    """What an engine multiplies with. Everything around the network stays as it is."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class VariantFile(Frozen):
    """The file of one fold in a reduced precision."""

    member: str
    fold: str
    file: str  # relative to the bundle
    sha256: str


class LabelEvidence(Frozen):
    """What a reduced precision did to one label: mean Dice over the cases that have it.

    ``drop`` is the loss of Dice against the reference labels where there were some, else of Dice against the
    float32 mask. It is negative where the reduced precision did better.
    """

    label: str
    cases: int  # that have the label in a mask or in the reference
    agreement: float | None  # Dice against the float32 mask; None where no case has the label
    least_agreement: float | None  # of one case
    dice_float32: float | None = None  # against the reference labels
    dice: float | None = None
    drop: float | None = None
    largest_drop: float | None = None  # of one case
    worst_case: str | None = None


class Evidence(Frozen):
    """A reduced precision against float32, on the user's images."""

    created: str  # ISO 8601, UTC
    engine: str
    reference_engine: str
    versions: dict[str, str]
    with_labels: bool
    cases: int
    voxels: int
    differing_voxels: int
    labels: tuple[LabelEvidence, ...]
    float32_sha256: dict[str, str]  # network files that it is about: file -> hash
    drop_allowed: float
    agreement_required: float
    tile_seconds_float32: float  # of the reference engine, on the machine that measured
    tile_seconds: float
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every label stayed within the limits."""
        return not self.failures

    @property
    def speed(self) -> float:
        """How many times as fast as float32 the network was."""
        return self.tile_seconds_float32 / self.tile_seconds if self.tile_seconds > 0 else 0.0


class Variant(Frozen):
    """A reduced precision, with its proof. No files: the engine reduces the float32 file by itself."""

    precision: Literal[Precision.BFLOAT16, Precision.FLOAT16, Precision.INT8]
    files: tuple[VariantFile, ...] = ()
    evidence: Evidence
    forced: bool = False  # kept although the evidence failed


class ModelDescription(Frozen):
    """``model.json``.

    The probabilities of all members that are ``averaged`` are averaged on the image's grid; the first member
    is one of them. ``postprocessing`` is applied to the mask, in this order.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    reader: Reader
    file_ending: str
    head: Head
    heads: int = Field(ge=1)  # number of logit channels
    labels: tuple[Label, ...] = Field(min_length=1)
    ignore_label: int | None = None
    members: tuple[Member, ...] = Field(min_length=1)
    postprocessing: tuple[KeepLargest, ...] = ()
    training: Training
    fingerprint: Fingerprint | None = None
    # of all training images; for DICOM
    orientation: str | None = Field(default=None, pattern="^[LRPAIS]{3}$")
    golden: Golden
    parity: Parity | None = None
    variants: tuple[Variant, ...] = ()
    provenance: Provenance

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Input channels in the network's order."""
        return tuple(channel.name for channel in self.members[0].preprocessing.channels)

    @property
    def dimension(self) -> int:
        """3 where a member looks at volumes; 2 where all look at pictures, or slices."""
        return max(len(member.tiling.patch_size) for member in self.members)

    @property
    def foreground_values(self) -> tuple[int, ...]:
        """Values of the training labels but the background, ascending; a cascade has a channel for each."""
        return tuple(sorted({value for label in self.labels for value in label.members} - {0}))

    @property
    def averaged_members(self) -> tuple[Member, ...]:
        """Members whose probabilities make the answer."""
        return tuple(member for member in self.members if member.averaged)

    def member(self, name: str) -> Member:
        """Member of that name.

        Raises:
            KeyError: there is none.
        """
        found = {member.name: member for member in self.members}
        return found[name]

    def network_channels(self, member: Member) -> int:
        """Number of the network's input channels: those of the image, and of the previous stage's labels."""
        appended = 0 if member.previous_stage is None else len(self.foreground_values)
        return len(member.preprocessing.channels) + appended
