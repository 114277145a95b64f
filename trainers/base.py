"""nnU-Net's trainer with a loss of the catalogue: the only ``_build_loss`` and the only schedule hook."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_losses.registry import get_loss_spec

from .loss_log import describe_loss, describe_weights
from .loss_settings import create_output_loss, labelled_cases, loss_settings
from .loss_state import add_to_checkpoint, joined_state, read_from_checkpoint
from .names import Configuration, parse
from .needs import check_meaning
from .supervision import Supervision, deep_supervision_weights
from .variants import variant_class
from .worker_geometry import LONGEST_TABLE, BatchGeometry, OutputGeometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

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
        labelled: which labels are drawn in which case, for losses that need to know.
    """

    loss_configuration: ClassVar[Configuration] = Configuration("dice_ce")
    epochs: ClassVar[int | None] = None
    catalogue_losses: list[Any]
    supervision: Supervision
    loss_state: dict[str, torch.Tensor]
    _warned = False

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
        for name in ("get_training_transforms", "get_validation_transforms"):
            setattr(self, name, self._followed_by_geometry(getattr(self, name)))
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
        weights = describe_weights(self.catalogue_losses)
        if weights:
            self.print_to_log_file(weights)

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
        self._warn_of_slow_geometry(found)
        labelled = {"labelled": self.labelled.of(batch["keys"])} if self.labelled else {}
        moved = [item and item.to(self.device, non_blocking=True) for item in found]
        geometry = [{"geometry": item} for item in moved] or [{}] * len(self.catalogue_losses)
        with self.supervision.given([item | labelled for item in geometry]):
            yield {**batch, "target": target}

    def _warn_of_slow_geometry(self, found: list[Any]) -> None:
        if self.geometry.outputs and not (found and all(found)) and not self._warned:
            self._warned = True
            self.print_to_log_file(
                "The loss makes the geometry of a batch itself, which is slower: the data loader is not "
                f"nnU-Net's, or a class has more than {LONGEST_TABLE} components. Said once."
            )

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """End an epoch's training; every rank is here, and so can join what the losses remember."""
        super().on_train_epoch_end(train_outputs)
        self.loss_state = joined_state(self.supervision)

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint, with what the losses remember."""
        super().save_checkpoint(filename)
        if self.loss_state and self.local_rank == 0 and not self.disable_checkpointing:
            add_to_checkpoint(filename, self.loss_state)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Read a checkpoint, with what the losses remember; without it, if it is another trainer's."""
        super().load_checkpoint(filename_or_checkpoint)
        self.loss_state = self.supervision.state_dict()
        state = read_from_checkpoint(filename_or_checkpoint) if self.loss_state else None
        if state and state.keys() == self.loss_state.keys():
            self.supervision.load_state_dict(state)
        elif self.loss_state:
            self.print_to_log_file("The checkpoint does not hold what the loss remembers; it starts afresh.")

    def _build_loss(self) -> nn.Module:
        settings = loss_settings(self)
        self.labelled = labelled_cases(self)
        scales = self._get_deep_supervision_scales() or [[1.0] * len(self.configuration_manager.patch_size)]
        keep_last = self.is_ddp and not self._do_i_compile()
        weights = deep_supervision_weights(len(scales), keep_last=keep_last)
        counting = [scale for scale, weight in zip(scales, weights, strict=True) if weight]
        self.catalogue_losses = [
            create_output_loss(self, settings, scale).to(self.device) for scale in counting
        ]
        self.print_to_log_file(describe_loss(self, settings))
        ignore_channel = self.label_manager.has_regions and self.label_manager.has_ignore_label
        self.geometry = self._batch_geometry(len(scales), ignore_channel=ignore_channel)
        self.loss_state = {}
        self.supervision = Supervision(self.catalogue_losses, weights, ignore_channel=ignore_channel)
        return self.supervision

    def _batch_geometry(self, targets: int, *, ignore_channel: bool) -> BatchGeometry:
        channels = self.label_manager.num_segmentation_heads
        spatial: Any = self.catalogue_losses if get_loss_spec(self.loss_configuration.loss).geometry else ()
        outputs = tuple(OutputGeometry(loss.geometry_recipe(channels), ignore_channel) for loss in spatial)
        return BatchGeometry(outputs, deep_supervision=self.enable_deep_supervision, targets=targets)


def with_loss(trainer_class: type[Any], key: str, **parameters: Any) -> type[Any]:
    """Give a trainer class of your own a loss of the catalogue. Derive from the result: it needs a name.

    Args:
        trainer_class: ``nnUNetTrainer`` or a subclass of it; its ``_build_loss`` is replaced.
        key: see ``nnunet_losses.list_losses``.
        **parameters: parameters of the loss, and ``warmup`` where its trainer has it; lists too, which no
            trainer's name can hold.

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
