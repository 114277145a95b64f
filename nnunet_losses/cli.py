"""The command line. Each room brings its commands, and is imported only when one of them is used."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .examples import EXAMPLES
from .interruption import INTERRUPTION

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "list": "nnunet_losses.trainers.commands:list_command",
    "describe": "nnunet_losses.trainers.commands:describe_command",
    "env": "nnunet_losses.trainers.commands:env_command",
    "enable": "nnunet_losses.trainers.commands:enable_command",
    "disable": "nnunet_losses.trainers.commands:disable_command",
    "doctor": "nnunet_losses.trainers.commands:doctor_command",
    "phantom": "nnunet_losses.commands:phantom_command",
    "export": "nnunet_losses.export.commands:export_command",
    "variant": "nnunet_losses.export.commands:variant_command",
    "triton": "nnunet_losses.export.triton_command:triton_command",
    "verify": "nnunet_losses.export.commands:verify_command",
    "calibrate": "nnunet_losses.serve.calibration.commands:calibrate_command",
    "recalibrate": "nnunet_losses.serve.calibration.commands:recalibrate_command",
    "predict": "nnunet_losses.serve.commands:predict_command",
    "inspect": "nnunet_losses.serve.commands:inspect_command",
    "evaluate": "nnunet_losses.serve.metrics.commands:evaluate_command",
    "compare": "nnunet_losses.compare.commands:compare_command",
    "compare-cell": "nnunet_losses.compare.commands:compare_cell_command",
    "compare-report": "nnunet_losses.compare.commands:compare_report_command",
    "stress": "nnunet_losses.serve.stress.commands:stress_command",
    "bench": "nnunet_losses.serve.bench_commands:bench_command",
    "send": "nnunet_losses.serve.client.commands:send_command",
    "serve": "nnunet_losses.serve.http.commands:serve_command",
    "keys": "nnunet_losses.serve.http.security.commands:keys_app",
}
# the server drains; a training goes on from its last checkpoint, whenever and however it was ended
WITH_THEIR_OWN_END = {"serve", "compare-cell"}


class LazyGroup(TyperGroup):
    """Looks a command up in ``COMMANDS`` and imports its room only then."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Name all commands, in the order of the road from loss to answer."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the signature is click's
        """Import one command; None for an unknown name, so that click reports it."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, function = target.split(":")
        command = getattr(import_module(module), function)
        epilog = f"Example: {EXAMPLES[cmd_name]}"
        app = typer.Typer(add_completion=False)
        if isinstance(command, typer.Typer):  # a group of commands
            app.add_typer(command, name=cmd_name, epilog=epilog)
            return typer.main.get_group(app).commands[cmd_name]
        # a room may parse its command with a class of its own (export's --folds takes several values)
        app.command(cmd_name, cls=getattr(command, "command_class", None), epilog=epilog)(command)
        return typer.main.get_command(app)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what is wrong with a value is told together with the value."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _with_value(error)
            raise


def _with_value(error: typer.BadParameter) -> str:
    """Put the value into words of pydantic's, which typer passes on and which only say what is expected."""
    reasons: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if len(reasons) != 1:
        return error.message
    words = str(reasons[0]["msg"]).removeprefix("Value error, ")
    return words.replace("Input should", f"{reasons[0]['input']!r} should")


app = typer.Typer(
    cls=LazyGroup,
    name="nnunet-losses",
    no_args_is_help=True,
    add_completion=False,
    help="Losses for nnU-Net as trainers, export that proves itself, and predictions without PyTorch.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature is typer's
    if wanted:
        typer.echo(f"nnunet-losses {version('nnunet-losses')}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Losses for nnU-Net as trainers, export that proves itself, and predictions without PyTorch."""
    if ctx.invoked_subcommand in WITH_THEIR_OWN_END:
        INTERRUPTION.let_go()


def main() -> None:
    """Run the command line. A signal ends a command as Ctrl-C does, and its exit code says which one."""
    INTERRUPTION.listen()
    try:
        app()
    except (KeyboardInterrupt, SystemExit):
        if INTERRUPTION.received is None:
            raise
        raise SystemExit(INTERRUPTION.exit_code) from None
