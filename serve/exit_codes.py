"""Which exit code a refusal gives a command that cannot begin, or go on, because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.ending import ExitCode

from .errors import Code

if TYPE_CHECKING:
    from .errors import Refusal

# what was named was right, and something broke; all other refusals are of what was named
_BROKE = frozenset({
    Code.BUNDLE_HASH_MISMATCH,
    Code.BUNDLE_SELF_TEST_FAILED,
    Code.BUNDLE_TIMEOUT,
    Code.BACKEND_FAILED,
    Code.INPUT_DECODER_FAILED,
    Code.INPUT_DECODER_TIMEOUT,
    Code.INPUT_DECODER_MEMORY,
})  # fmt: skip


def exit_code_of(refusal: Refusal) -> ExitCode:
    """Say whether what was typed is to be mended, or something broke.

    Example:
        >>> from nnunet_losses.serve.errors import Refusal
        >>> exit_code_of(Refusal(Code.BUNDLE_UNREADABLE, "There is no file x.", remedy="Name a bundle."))
        <ExitCode.USAGE: 2>
        >>> exit_code_of(Refusal(Code.BACKEND_FAILED, "The engine stopped.", remedy="Try another one."))
        <ExitCode.FAILED: 1>
    """
    return ExitCode.FAILED if refusal.code in _BROKE else ExitCode.USAGE
