"""What this processor multiplies natively."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nnunet_losses.serve.schema import Precision

_CPUINFO = Path("/proc/cpuinfo")
# Linux's names of the instructions, on x86 and on Arm; any one suffices
_INSTRUCTIONS = {
    Precision.BFLOAT16: {"amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16"},
    Precision.FLOAT16: {"amx_fp16", "avx512_fp16", "asimdhp"},
    Precision.INT8: {"amx_int8", "avx512_vnni", "avx_vnni", "asimddp"},
}


@cache
def native_precisions(cpuinfo: Path = _CPUINFO) -> frozenset[Precision]:
    """Precisions that the processor has instructions for.

    Engines do not say: OpenVINO lists bfloat16 on every processor with AVX-512, and emulates it, slower than
    float32, where the instructions are missing; without those for int8, sums of products may overflow. Where
    the processor cannot be asked (not Linux), float32 alone is certain.

    Args:
        cpuinfo: Linux's description of the processor.

    Example:
        >>> native_precisions(Path("no-such-file"))
        frozenset({<Precision.FLOAT32: 'float32'>})
    """
    flags = _flags(cpuinfo)
    reduced = (precision for precision, names in _INSTRUCTIONS.items() if names & flags)
    return frozenset({Precision.FLOAT32, *reduced})


def _flags(cpuinfo: Path) -> set[str]:
    if not cpuinfo.is_file():
        return set()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
