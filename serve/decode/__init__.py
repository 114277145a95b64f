"""Files to images in another process: a decoder that crashes, hangs or swells is a refusal, not an outage."""

from .budget import Budget
from .children import read_in_child, stop_children, warm_up

__all__ = ["Budget", "read_in_child", "stop_children", "warm_up"]
