"""nnU-Net's trainer with a loss of the catalogue: the only ``_build_loss`` and the only schedule hook."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_losses.registry import create_loss, get_loss_spec
from nnunet_losses.spatial import SpatialLoss

from .class_frequency import class_voxels, inverse_frequency_weights, label_counts
from .names import Configuration, parse
from .needs import check_meaning, unmet_needs
from .supervision import Supervision, deep_supervision_weights
from .variants import variant_class
from .worker_geometry import BatchGeometry, OutputGeometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from nnunet_losses.loss import Loss

_CUDA = torch.device("cuda")  # nnU-Net's default


class LossTrainer(nnUNetTrainer):
    """Trains with the loss of ``loss_configuration``; everything else is the class it is combined with.

    Regions, ignore label, deep supervision, distributed training, mixed precision, cascades and resuming
    work as in ``nnUNetTrainer``. A loss without a meaning for the data raises ``NotImplementedError``
    when the trainer is made.

    Attributes:
        loss_configuration: which loss, with which parameters.
        epochs: length of the training; None leaves that of the class below.
        catalogue_losses: the losses of the network's outputs that count, from the highest resolution on.
        geometry: what those losses need of the data loader's workers.
    """

    loss_configuration: ClassVar[Configuration] = Configuration("dice_ce")
    epochs: ClassVar[int | None] = None

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any],
        device: torch.device = _CUDA,
    ) -> None:  # fmt: skip
        # nnU-Net reads this signature and looks its names up among its own locals: it must stay
        # nnUNetTrainer's.
        super().__init__(plans, configuration, fold, dataset_json, device)
        labels = self.label_manager
        regions = labels.num_segmentation_heads if labels.has_regions else 0
        check_meaning(get_loss_spec(self.loss_configuration.loss), regions=regions)
        if self.epochs is not None:
            self.num_epochs = self.epochs

    def get_dataloaders(self) -> Any:
        """Make the data loaders; their last transform makes the geometry that the loss needs."""
        # On the instance, which nnU-Net asks: classes below and above this one define them as static methods.
        self.get_training_transforms = self._followed_by_geometry(self.get_training_transforms)
        self.get_validation_transforms = self._followed_by_geometry(self.get_validation_transforms)
        return super().get_dataloaders()

    def _followed_by_geometry(self, make_transforms: Callable[..., Any]) -> Callable[..., Any]:
        def make(*arguments: Any, **named: Any) -> Any:
            return self.geometry.after(make_transforms(*arguments, **named))

        return make

    def on_train_epoch_start(self) -> None:
        """Begin an epoch. Schedules depend on its number alone, so that resuming changes nothing."""
        super().on_train_epoch_start()
        for loss in self.catalogue_losses:
            loss.set_epoch(self.current_epoch, self.num_epochs)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Train with one batch."""
        with self._loss_of(batch) as plain_batch:
            step: dict[str, Any] = super().train_step(plain_batch)
        return step

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Validate with one batch."""
        with self._loss_of(batch) as plain_batch:
            step: dict[str, Any] = super().validation_step(plain_batch)
        return step

    @contextmanager
    def _loss_of(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Give the loss what came with a batch, and yield the batch as nnU-Net knows it."""
        target, found = self.geometry.split(batch["target"])
        with self.supervision.given([{"geometry": item} for item in found]):
            yield {**batch, "target": target}

    def _build_loss(self) -> nn.Module:
        settings = self._loss_settings()
        scales = self._get_deep_supervision_scales() or [[1.0] * len(self.configuration_manager.patch_size)]
        keep_last = self.is_ddp and not self._do_i_compile()
        weights = deep_supervision_weights(len(scales), keep_last=keep_last)
        counting = [scale for scale, weight in zip(scales, weights, strict=True) if weight]
        self.catalogue_losses = [self._catalogue_loss(settings, scale) for scale in counting]
        self._log_loss(settings)
        ignore_channel = self.label_manager.has_regions and self.label_manager.has_ignore_label
        self.geometry = self._batch_geometry(len(scales), ignore_channel=ignore_channel)
        self.supervision = Supervision(self.catalogue_losses, weights, ignore_channel=ignore_channel)
        return self.supervision

    def _catalogue_loss(self, settings: dict[str, Any], scale: list[float]) -> Loss:
        """Make the loss of an output whose size is the patch's times a scale per axis."""
        labels = self.label_manager
        if "spacing" in settings:
            voxel = zip(settings["spacing"], scale, strict=True)
            settings = settings | {"spacing": [length / factor for length, factor in voxel]}
        return create_loss(
            self.loss_configuration.loss,
            activation="sigmoid" if labels.has_regions else "softmax",
            ignore_index=None if labels.has_regions else labels.ignore_label,
            **settings,
        ).to(self.device)

    def _batch_geometry(self, targets: int, *, ignore_channel: bool) -> BatchGeometry:
        channels = self.label_manager.num_segmentation_heads
        recipes = [
            loss.geometry_recipe(channels) for loss in self.catalogue_losses if isinstance(loss, SpatialLoss)
        ]
        outputs = tuple(OutputGeometry(recipe, ignore_channel) for recipe in recipes)
        return BatchGeometry(outputs, deep_supervision=self.enable_deep_supervision, targets=targets)

    def _loss_settings(self) -> dict[str, Any]:
        """All parameters of the loss: of the name, of the plan, of the training set."""
        spec = get_loss_spec(self.loss_configuration.loss)
        missing = unmet_needs(spec)
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} cannot train yet: the loss {spec.key} needs {' and '.join(missing)}. "
                "Use the loss in a training loop of your own (nnunet_losses.create_loss), or choose another "
                "trainer: nnunet-losses list says which can train."
            )
        settings = self.loss_configuration.settings(batch_dice=self.configuration_manager.batch_dice)
        if settings.get("class_weights", ...) is None:
            settings["class_weights"] = inverse_frequency_weights(self._training_voxels())
        if settings.get("class_frequencies", ...) is None:
            settings["class_frequencies"] = self._training_voxels()
        if settings.get("spacing", ...) is None:
            settings["spacing"] = [float(length) for length in self.configuration_manager.spacing]
        return settings

    def _training_voxels(self) -> list[int]:
        """Voxels per channel of the logits in the training cases of this fold."""
        labels = self.label_manager
        self.dataset_class = infer_dataset_class(self.preprocessed_dataset_folder)
        training, _ = self.get_tr_and_val_datasets()
        counts = label_counts(training, self.preprocessed_dataset_folder_base)
        return class_voxels(counts, labels.foreground_regions if labels.has_regions else labels.all_labels)

    def _log_loss(self, settings: dict[str, Any]) -> None:
        spec = get_loss_spec(self.loss_configuration.loss)
        labels = self.label_manager
        chosen = "the name" if "phi" in self.loss_configuration.parameters else "the plan's batch_dice"
        values = [f"{name}={value!r}" for name, value in settings.items()]
        phi = [f"phi is from {chosen}"] if "phi" in settings else []
        kind = "sigmoid over regions" if labels.has_regions else "softmax over labels"
        ignored = f"ignore label {labels.ignore_label}" if labels.has_ignore_label else "no ignore label"
        details = [*values, *phi, kind, ignored]
        self.print_to_log_file(f"Loss {spec.key} of nnunet-losses: {', '.join(details)}.")


def with_loss(trainer_class: type[Any], key: str, **parameters: Any) -> type[Any]:
    """Give a trainer class of your own a loss of the catalogue. Derive from the result: it needs a name.

    Args:
        trainer_class: ``nnUNetTrainer`` or a subclass of it; its ``_build_loss`` is replaced.
        key: see ``nnunet_losses.list_losses``.
        **parameters: parameters of the loss; lists too, which no trainer's name can hold.

    Raises:
        TypeError: the class is no nnU-Net trainer, or the loss has no such parameter.
        ValueError: unknown loss, or a value that it does not accept.

    Example:
        >>> class nnUNetTrainerMine(with_loss(nnUNetTrainer, "weighted_ce", class_weights=[1, 5])):
        ...     "Found by nnU-Net where its module is: in a folder of nnUNet_extTrainer, for example."
        >>> nnUNetTrainerMine.loss_configuration.loss
        'weighted_ce'
    """
    if not (isinstance(trainer_class, type) and issubclass(trainer_class, nnUNetTrainer)):
        raise TypeError(f"{trainer_class!r} is not a trainer: expected nnUNetTrainer or a subclass of it.")
    configuration = Configuration(key, parameters)
    configuration.settings(batch_dice=False)  # refuses what the loss does not accept
    name = f"{trainer_class.__name__}_{key}"
    bases = () if issubclass(trainer_class, LossTrainer) else (LossTrainer,)
    return type(name, (*bases, trainer_class), {"loss_configuration": configuration, "__module__": __name__})


def trainer_class(name: str, *, module: str) -> type[LossTrainer]:
    """Make the trainer class of a name.

    Args:
        name: see ``names``.
        module: where the class will be found by this name, so that it can be pickled.

    Raises:
        TrainerNameError: the name is none of ours.
        ImportError: nnU-Net has not the variant.
    """
    configuration = parse(name)
    below = variant_class(configuration.variant)
    bases = (LossTrainer,) if below is nnUNetTrainer else (LossTrainer, below)
    members = {
        "__module__": module,
        "__doc__": f"nnU-Net's {below.__name__} with the loss {configuration.loss}.",
        "loss_configuration": configuration,
        "epochs": configuration.epochs,
    }
    return type(name, bases, members)
