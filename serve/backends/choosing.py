"""Which engine and which precision a bundle's networks run with, and what must be said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Precision

from .opening import PROVIDERS, Backend, PrecisionChoice, candidates, open_network
from .processor import native_precisions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.schema import Fold, Member, ModelDescription, Variant

    from .network import TileNetwork

# engines that reduce the float32 file by themselves; all others need a file
_BY_FLAG = {
    Precision.BFLOAT16: ("openvino",),
    Precision.FLOAT16: ("openvino", "tensorrt"),
    Precision.INT8: (),
}
# what is faster than float32, the fastest first; CUDA is faster than any processor
_ORDER: tuple[tuple[Backend, Precision], ...] = (
    ("tensorrt", Precision.FLOAT16),
    ("cuda", Precision.FLOAT16),
    ("tensorrt", Precision.FLOAT32),
    ("cuda", Precision.FLOAT32),
    ("openvino", Precision.BFLOAT16),
    ("openvino", Precision.FLOAT16),
    ("cpu", Precision.INT8),
    ("openvino", Precision.FLOAT32),
    ("cpu", Precision.FLOAT32),
    ("cpu", Precision.FLOAT16),  # slow; for measuring it where there is no GPU
)
# as ``nnunet-losses variant`` names them
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "int8": "int8"}


@dataclass(frozen=True)
class Choice:
    """An engine and a precision."""

    backend: Backend
    precision: Precision


class NetworkOpener:
    """Opens a bundle's networks, all with the same engine and precision.

    Args:
        bundle: the model.
        backend: ``auto`` takes the fastest engine that is installed and works.
        precision: ``auto`` reduces the precision only where the bundle holds the proof that it does no harm
            and was faster; any other is used as asked for, and ``warnings`` says where there is no proof.
        threads: of the CPU; None takes the cores that this process may use.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where no engine computes in the precision that was asked for.
        ValueError: for an unknown backend or precision.

    Example:
        >>> from nnunet_losses.serve.bundle import Bundle
        >>> opener = NetworkOpener(Bundle.load("liver.bundle"), backend="cpu")  # doctest: +SKIP
        >>> opener(opener.bundle.description.members[0], 0).provider  # doctest: +SKIP
        'CPUExecutionProvider'
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        backend: Backend = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
    ) -> None:
        self.bundle = bundle
        self._threads = threads
        self._choices = choices(bundle.description, backend, precision)
        self._choice: Choice | None = None

    def __call__(self, member: Member, fold: int) -> TileNetwork:
        """Open the network of a member's fold (by position).

        The first call settles what all others use.

        Raises:
            Refusal: BACKEND_UNAVAILABLE, BUNDLE_UNREADABLE: see ``open_network``.
        """
        if self._choice is not None:
            return self._open(self._choice, member, member.folds[fold])
        for choice in self._choices[:-1]:
            try:
                network = self._open(choice, member, member.folds[fold])
            except Refusal as refusal:
                if refusal.code is not Code.BACKEND_UNAVAILABLE:
                    raise
            else:
                self._choice = choice
                return network
        self._choice = self._choices[-1]
        return self._open(self._choice, member, member.folds[fold])

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """Codes and messages that belong into every answer of these networks."""
        used = self._choice or self._choices[-1]
        if used.precision is Precision.FLOAT32:
            return ()
        variant = variant_of(self.bundle.description, used.precision)
        return tuple(_remarks(used, variant))

    def _open(self, choice: Choice, member: Member, fold: Fold) -> TileNetwork:
        file = _file(self.bundle.description, choice, member, fold)
        return open_network(
            self.bundle.file(file), backend=choice.backend, precision=choice.precision, threads=self._threads
        )


def choices(description: ModelDescription, backend: Backend, precision: PrecisionChoice) -> list[Choice]:
    """What to try, the fastest first; never empty.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where nothing fits.
        ValueError: for an unknown backend or precision.
    """
    for value, known in ((backend, get_args(Backend)), (precision, get_args(PrecisionChoice))):
        if value not in known:
            raise ValueError(f"unknown backend or precision {value!r}; choose one of {', '.join(known)}")
    possible = [
        Choice(engine, reduced)
        for engine, reduced in _ORDER
        if backend in (engine, "auto") and precision in (reduced, "auto")
    ]
    if backend == "auto":
        installed = candidates()
        possible = [choice for choice in possible if choice.backend in installed]
    found = [
        choice
        for choice in possible
        if not _lacks_file(description, choice) and (precision != "auto" or _is_safe(description, choice))
    ]
    if not found:
        raise _nothing_fits(description, backend, precision, possible)
    return found


def variant_of(description: ModelDescription, precision: Precision) -> Variant | None:
    """The bundle's variant of a precision."""
    return next((variant for variant in description.variants if variant.precision is precision), None)


def _is_safe(description: ModelDescription, choice: Choice) -> bool:
    """Whether it may be used unasked: float32, or what is native here, proven for this engine, and faster."""
    if choice.precision is Precision.FLOAT32:
        return True
    variant = variant_of(description, choice.precision)
    is_native = choice.backend in ("cuda", "tensorrt") or choice.precision in native_precisions()
    if variant is None or not is_native or variant.evidence.speed <= 1:
        return False
    return _is_proof(variant, PROVIDERS[choice.backend])


def _is_proof(variant: Variant, provider: str) -> bool:
    """Whether the evidence passed, and with this very engine: another one rounds in other places."""
    return variant.evidence.passed and variant.evidence.engine == provider


def _lacks_file(description: ModelDescription, choice: Choice) -> bool:
    if choice.precision is Precision.FLOAT32 or choice.backend in _BY_FLAG[choice.precision]:
        return False
    variant = variant_of(description, choice.precision)
    return variant is None or not variant.files


def _file(description: ModelDescription, choice: Choice, member: Member, fold: Fold) -> str:
    """The file of a fold: its own in the precision, or the float32 one."""
    if choice.precision is Precision.FLOAT32 or choice.backend in _BY_FLAG[choice.precision]:
        return fold.file
    variant = variant_of(description, choice.precision)
    assert variant is not None, "choices without a file are left out"
    return next(
        reduced.file
        for reduced in variant.files
        if (reduced.member, reduced.fold) == (member.name, fold.name)
    )


def _remarks(choice: Choice, variant: Variant | None) -> Iterator[tuple[str, str]]:
    precision, provider = choice.precision, PROVIDERS[choice.backend]
    if variant is None:
        text = (
            f"The network ran in {precision.value}, as was asked for. What that does to the masks has not "
            "been measured for this bundle."
        )
        yield "precision.unproven", text
    elif not variant.evidence.passed:
        failures = "; ".join(variant.evidence.failures)
        text = f"The network ran in {precision.value}, which failed its proof and was forced: {failures}."
        yield "precision.forced", text
    elif not _is_proof(variant, provider):
        text = (
            f"The network ran in {precision.value} with {provider}; that this does no harm was measured with "
            f"{variant.evidence.engine}."
        )
        yield "precision.proven_elsewhere", text


def _nothing_fits(
    description: ModelDescription, backend: Backend, precision: PrecisionChoice, possible: list[Choice]
) -> Refusal:
    without_file = [choice for choice in possible if _lacks_file(description, choice)]
    if without_file:
        detail = f"The bundle has no {precision} network, which {without_file[0].backend} needs."
        remedy = (
            f"Make one with: nnunet-losses variant BUNDLE {_SHORT[precision]} --calibration-images FOLDER. "
            "Or use --precision float32."
        )
    else:
        engines = "No installed engine" if backend == "auto" else f"The backend {backend} never"
        detail = f"{engines} computes in {precision}."
        remedy = f"Use --precision float32, or one of the backends {', '.join(_engines(precision))}."
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        detail,
        remedy=remedy,
        observed={"backend": backend, "precision": precision},
        expected=[f"{choice.backend} {choice.precision.value}" for choice in choices_known(description)],
    )


def _engines(precision: PrecisionChoice) -> list[str]:
    return [engine for engine, reduced in _ORDER if reduced == precision]


def choices_known(description: ModelDescription) -> list[Choice]:
    """Every pair of engine and precision for which the bundle has what is needed."""
    every = (Choice(engine, precision) for engine, precision in _ORDER)
    return [choice for choice in every if not _lacks_file(description, choice)]
