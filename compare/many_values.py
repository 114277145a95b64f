"""Options that take several values, as nnU-Net's own commands do: ``--losses ce dice_ce --folds 0 1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = ("--losses", "--folds", "--features", "--patch", "--devices")


class ManyValues(TyperCommand):
    """A command whose options of ``MANY`` take all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give every value an option of its own before the parser sees them."""
        return super().parse_args(ctx, one_value_an_option(args))


def one_value_an_option(args: Sequence[str]) -> list[str]:
    """Repeat the option before each of its values.

    Example:
        >>> one_value_an_option(["data", "--losses", "ce", "dice", "--epochs", "5"])
        ['data', '--losses', 'ce', '--losses', 'dice', '--epochs', '5']
        >>> one_value_an_option(["--folds=0,1", "--", "2"])
        ['--folds', '0', '--folds', '1', '--', '2']
    """
    result: list[str] = []
    option = ""  # the one of MANY whose values are being read
    for index, word in enumerate(args):
        if word == "--":
            return result + list(args[index:])
        name, equals, value = word.partition("=")
        if name in MANY:
            option = name
            result += _repeated(option, value) if equals else []
        elif word.startswith("-") or not option:
            option = ""
            result.append(word)
        else:
            result += _repeated(option, word)
    return result


def _repeated(option: str, values: str) -> list[str]:
    return [part for value in values.split(",") if value for part in (option, value)]
