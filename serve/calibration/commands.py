"""``nnunet-losses calibrate`` and ``nnunet-losses recalibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nnunet_losses.serve.commands import (
    AsJson,
    BackendName,
    BackendOption,
    BundlePath,
    PrecisionName,
    PrecisionOption,
)

if TYPE_CHECKING:
    from .planning import Splits

DEFAULT_SPLITS = "default"
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the network.", show_default="all cores")
]
Records = Annotated[
    Path | None,
    typer.Option(
        help="Folder for what is known of each case already, so that an interrupted run goes on.",
        show_default="beside the bundle; removed at the end",
        file_okay=False,
    ),
]
SMALLEST_LEVEL, LARGEST_LEVEL = 1e-6, 0.5


def _folder(text: str) -> Any:
    """Option for a folder that is there."""
    return typer.Option(help=text, exists=True, file_okay=False)


def _level(text: str, default: str | bool = True) -> Any:
    """Option for a share of cases."""
    return typer.Option(min=SMALLEST_LEVEL, max=LARGEST_LEVEL, help=text, show_default=default)


def calibrate_command(
    bundle: BundlePath,
    *,
    raw: Annotated[Path, _folder("nnU-Net's raw data set that the model was trained with.")],
    splits: Annotated[
        str | None,
        typer.Option(help="nnU-Net's splits_final.json; or `default`, what nnU-Net does without one."),
    ] = None,
    held_out: Annotated[
        Path | None, _folder("Cases that trained no fold: images, or folders images… and labels… in it.")
    ] = None,
    negatives: Annotated[
        Path | None,
        _folder("More new images, of the kind that will be sent, without anything to find."),
    ] = None,
    outliers: Annotated[
        Path | None, _folder("Images that should be called strange; nothing is fitted to them.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="Table with the columns case and group (patient).", exists=True, dir_okay=False),
    ] = None,
    disagreement: Annotated[
        bool,
        typer.Option(
            "--disagreement",
            help="Also rank how far mirrored passes and folds agree; answers then take longer.",
        ),
    ] = False,
    suspicious: Annotated[float, _level("Share of usual images that may be suspicious.")] = 0.05,
    out_of_distribution: Annotated[
        float, _level("Share of usual images that may be out of distribution.")
    ] = 0.01,
    pac: Annotated[
        float | None,
        _level("Keep these levels in all but this share of calibrations.", "on average over calibrations"),
    ] = None,
    false_alarms: Annotated[
        float, _level("Share of cases without a label that may be answered `present`.")
    ] = 0.05,
    misses: Annotated[float, _level("Share of cases with it that may be answered `empty`.")] = 0.05,
    backend: BackendOption = BackendName.AUTO,
    precision: PrecisionOption = PrecisionName.AUTO,
    threads: Threads = None,
    records: Records = None,
    as_json: AsJson = False,
) -> None:
    """Run a bundle on cases that it has not seen, so that its answers can say what they are worth.

    Each fold's own validation cases are ranked (--splits), or cases of a folder (--held-out). The calibration
    is stored in the bundle, with figures in its model card.

    An interrupted run goes on where it stopped. Exit code 1: the bundle is damaged, or an engine failed.
    Exit code 2: the command line, the bundle or the cases do not allow a calibration.
    """
    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.safety.calibration import Levels
    from nnunet_losses.serve.safety.distribution import Settings

    from .building import BuildSettings, PresenceLevels
    from .calibrate import Job, calibrate
    from .errors import CalibrationError
    from .planning import Sources, read_groups
    from .report import print_calibrated, progress_bar
    from .running import EngineChoice

    if (splits is None) == (held_out is None):
        raise typer.BadParameter(
            "Name the cases that are new to the model: --splits, or --held-out; one of the two."
        )
    if out_of_distribution > suspicious:
        raise typer.BadParameter(
            f"--out-of-distribution {out_of_distribution:g} is above --suspicious {suspicious:g}; what is "
            "out of distribution is suspicious, too: give it the same level or a lower one."
        )
    try:
        table, file_hash = _splits(splits, raw, bundle)
        settings = BuildSettings(
            Settings(Levels(suspicious=suspicious, out_of_distribution=out_of_distribution), pac),
            PresenceLevels(false_alarms, misses),
            file_hash,
        )
        sources = Sources(
            raw, table, held_out, negatives, outliers, {} if groups is None else read_groups(groups)
        )
        job = Job(
            EngineChoice(backend.value, precision.value, threads),
            settings,
            records,
            disagreement=disagreement,
        )
        with progress_bar() as progress:
            result = calibrate(bundle, sources, job, progress)
    except CalibrationError as error:
        raise typer.BadParameter(str(error)) from error
    except Refusal as refusal:
        _stop(refusal, as_json=as_json)
    print_calibrated(result, as_json=as_json)


def recalibrate_command(
    bundle: BundlePath,
    *,
    images: Annotated[
        Path | None,
        _folder("Usual images of the site, at least 20; no labels."),
    ] = None,
    site: Annotated[str, typer.Option(help="The site's name; it stands in every answer.")] = "local",
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the site's cases away; the calibration is as it was.")
    ] = False,
    backend: BackendOption = BackendName.AUTO,
    precision: PrecisionOption = PrecisionName.AUTO,
    threads: Threads = None,
    records: Records = None,
    as_json: AsJson = False,
) -> None:
    """Rank new images against a site's own instead of the calibration cases.

    A new site's images are all strange to a calibration from elsewhere. Fitted scores, presence and quality
    stay as they are; the site's cases lie over the calibration, and can be removed.
    """
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.errors import Refusal

    from .calibrate import Job, recalibrate
    from .errors import CalibrationError
    from .report import print_overlay, progress_bar
    from .running import EngineChoice
    from .writing import remove_site

    if remove == (images is not None):
        raise typer.BadParameter("Give the site's images by --images, or --remove them; one of the two.")
    try:
        if images is None:
            remove_site(bundle, Bundle.load(bundle))
            return
        job = Job(EngineChoice(backend.value, precision.value, threads), records=records)
        with progress_bar() as progress:
            overlay = recalibrate(bundle, images, site, job, progress)
    except CalibrationError as error:
        raise typer.BadParameter(str(error)) from error
    except Refusal as refusal:
        _stop(refusal, as_json=as_json)
    print_overlay(overlay, as_json=as_json)


def _splits(given: str | None, raw: Path, bundle: Path) -> tuple[Splits | None, str | None]:
    """Read the splits; also the file's hash."""
    from nnunet_losses.serve.bundle import Bundle, file_sha256

    from .planning import default_splits, read_splits, training_names

    if given is None:
        return None, None
    if given == DEFAULT_SPLITS:
        return default_splits(training_names(raw, Bundle.load(bundle, verify=False).description)), None
    return read_splits(Path(given)), file_sha256(Path(given))


def _stop(refusal: object, *, as_json: bool) -> NoReturn:
    from nnunet_losses.serve.commands import stop
    from nnunet_losses.serve.errors import Refusal

    assert isinstance(refusal, Refusal), "nothing else is passed"
    stop(refusal, as_json=as_json)
