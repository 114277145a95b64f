"""A training that begins on one loss and goes on with another, which does not train from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from nnunet_losses.schedule import check_epoch, warm_up_epochs

if TYPE_CHECKING:
    from torch import Tensor

    from nnunet_losses.geometry.recipe import GeometryRecipe
    from nnunet_losses.loss import Loss


class WarmUp(nn.Module):
    """The first loss for a share of the epochs, rounded down, then the second.

    Which one it is depends on the epoch alone: so it is the same on all ranks, and after resuming.

    Args:
        first: the loss of the first epochs. Geometry is none of its business.
        then: the loss itself.
        share: of the epochs on ``first``, from 0 to 1.

    Attributes:
        params: the parameters of the loss itself.

    Example:
        >>> import torch
        >>> from nnunet_losses import create_loss
        >>> loss = WarmUp(create_loss("ce"), create_loss("lovasz"), share=0.5)
        >>> batch = torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]])
        >>> loss.weights, loss(*batch)  # log 2
        ({'ce': 1.0, 'lovasz': 0.0}, tensor(0.6931))
        >>> loss.set_epoch(5, 10)
        >>> loss.weights, loss(*batch)
        ({'ce': 0.0, 'lovasz': 1.0}, tensor(0.5000))
    """

    def __init__(self, first: Loss, then: Loss, *, share: float) -> None:
        super().__init__()
        self.first, self.then, self.share = first, then, share
        self.warming_up = share > 0

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the loss itself."""
        return self.then.params

    @property
    def weights(self) -> dict[str, float]:
        """The weights of this epoch: one of them is 1."""
        return {self.first.key: float(self.warming_up), self.then.key: float(not self.warming_up)}

    def geometry_recipe(self, channels: int) -> GeometryRecipe:
        """Say how to make the geometry of the loss itself; see ``SpatialLoss``.

        Raises:
            TypeError: the loss itself takes none.
        """
        recipe = getattr(self.then, "geometry_recipe", None)
        if recipe is None:
            raise TypeError(f"loss {self.then.key!r} takes no geometry")
        made: GeometryRecipe = recipe(channels)
        return made

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Choose the loss of an epoch, counted from 0."""
        check_epoch(epoch, num_epochs)
        self.warming_up = epoch < warm_up_epochs(self.share, num_epochs)
        self.then.set_epoch(epoch, num_epochs)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None, **named: Any) -> Tensor:
        """Return the loss of this epoch; ``named``, as the geometry, is for the loss itself."""
        value: Tensor = (
            self.first(logits, target, mask) if self.warming_up else self.then(logits, target, mask, **named)
        )
        return value

    def extra_repr(self) -> str:
        """Show the share: nnU-Net writes this into its debug information."""
        return f"share={self.share!r}"
