"""What one decoding may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_losses.serve.safety.memory import available_memory

if TYPE_CHECKING:
    from nnunet_losses.serve.formats import Limits

OWN_BYTES = 2**26  # of the libraries, whatever they read
CASE_FACTOR = 4  # voxels as the file has them, as float32, turned, and those of another channel beside them


@dataclass(frozen=True)
class Budget:
    """Limits of the process that decodes, kept by the kernel and by a clock.

    Args:
        memory_bytes: address space beyond what the process has anyway; None takes what a case within
            ``Limits`` may need, and no more than the machine has free.
        cpu_seconds: processor time.
        wall_seconds: time by the clock.
        output_bytes: largest image handed over; None takes ``Limits.decoded_bytes``, twice.

    Example:
        >>> Budget(wall_seconds=5).cpu_seconds
        300
    """

    memory_bytes: int | None = None
    cpu_seconds: int = 300
    wall_seconds: float = 600.0
    output_bytes: int | None = None

    def memory(self, limits: Limits) -> int:
        """Bytes of address space."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        free = available_memory() if limits.memory_bytes is None else limits.memory_bytes
        return min(free, OWN_BYTES + CASE_FACTOR * limits.decoded_bytes)

    def output(self, limits: Limits) -> int:
        """Bytes of the largest image: 16 bits in a file become 32."""
        return 2 * limits.decoded_bytes if self.output_bytes is None else self.output_bytes
