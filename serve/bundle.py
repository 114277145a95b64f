"""The bundle: a directory, or a zip of it, that holds everything a prediction needs."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path, PurePosixPath
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize
from zipfile import is_zipfile

from pydantic import ValidationError

from .archive import extract
from .bundle_checks import check_meaning, explain
from .errors import Code, Refusal
from .safety.stored import StoredCalibration, load_calibration
from .schema import Fold, ModelDescription, VariantFile

DESCRIPTION = "model.json"
SUMS = "SHA256SUMS"
_REMEDY = "Export the model again."


class Bundle:
    """A loaded bundle. Use ``Bundle.load``.

    Attributes:
        root: folder that holds ``model.json``; for a zip a temporary one, that lives as long as the bundle.
        description: the parsed ``model.json``.
        origin: the bundle of which this is a changed view, if it is one.
    """

    def __init__(self, root: Path, description: ModelDescription) -> None:
        self.root = root
        self.description = description
        self.origin: Bundle | None = None

    @classmethod
    def load(cls, path: Path | str, *, verify: bool = True, calibrated: bool = True) -> Bundle:
        """Read a bundle.

        Args:
            path: a directory, or a zip file of it.
            verify: compare every file with its recorded hash.
            calibrated: False leaves a calibration aside, so that one of another model can be made anew.

        Raises:
            Refusal: BUNDLE_UNREADABLE for what is no bundle, BUNDLE_UNSUPPORTED for a description that this
                runtime does not understand, BUNDLE_HASH_MISMATCH for changed, missing or additional files,
                and for a calibration of another model.
        """
        path = Path(path)
        if path.is_dir():
            return cls._from_folder(path, path.name, verify=verify, calibrated=calibrated)
        if not path.is_file() or not is_zipfile(path):
            raise Refusal(
                Code.BUNDLE_UNREADABLE,
                f"{path.name} is neither a folder nor a zip file."
                if path.exists()
                else f"There is no file or folder {path.name}.",
                remedy="Name the folder or zip file that nnunet-losses export wrote.",
            )
        folder = Path(mkdtemp(prefix="nnunet-losses-"))
        try:
            extract(path, folder)
            bundle = cls._from_folder(_root_of(folder), path.name, verify=verify, calibrated=calibrated)
        except BaseException:
            rmtree(folder)
            raise
        finalize(bundle, rmtree, folder, ignore_errors=True)
        return bundle

    @classmethod
    def _from_folder(cls, root: Path, name: str, *, verify: bool, calibrated: bool) -> Bundle:
        bundle = cls(root, _read_description(root, name))
        recorded = _verify(root) if verify else None
        check_meaning(bundle.description)
        bundle._check_files(recorded)
        if not calibrated:
            bundle.calibration = None
        elif verify:
            _ = bundle.calibration  # one that belongs to another model is refused here, and not in an answer
        return bundle

    @property
    def sha256(self) -> str:
        """Identity of the bundle: the SHA-256 of its list of hashes."""
        return file_sha256(self.file(SUMS))

    @cached_property
    def calibration(self) -> StoredCalibration | None:
        """What is known of its answers; None where it was not calibrated.

        Raises:
            Refusal: for a calibration that does not belong to this bundle.
        """
        return (
            load_calibration(self.root, self.description) if self.origin is None else self.origin.calibration
        )

    def file(self, relative: str) -> Path:
        """Path of one of the bundle's files.

        Raises:
            Refusal: BUNDLE_UNSUPPORTED for a name that leads outside, BUNDLE_UNREADABLE for an absent file.
        """
        name = PurePosixPath(relative)
        path = self.root / name
        outside = name.is_absolute() or ".." in name.parts or "\\" in relative or ":" in relative
        if outside or not path.resolve().is_relative_to(self.root.resolve()):
            raise Refusal(
                Code.BUNDLE_UNSUPPORTED,
                f"The bundle names {relative!r}, which lies outside of it.",
                remedy=_REMEDY,
                observed=relative,
            )
        if not path.is_file():
            raise Refusal(
                Code.BUNDLE_UNREADABLE, f"The bundle's file {relative!r} is missing.", remedy=_REMEDY
            )
        return path

    def _check_files(self, recorded: dict[str, str] | None) -> None:
        """Every file that the description names is there; networks are the ones that were described."""
        golden = self.description.golden
        for name in (*golden.inputs, golden.mask, golden.tile_input, golden.tile_logits):
            self.file(name)
        networks: list[Fold | VariantFile] = [
            *(fold for member in self.description.members for fold in member.folds),
            *(file for variant in self.description.variants for file in variant.files),
        ]
        for network in networks:
            self.file(network.file)
            if recorded is not None and recorded.get(network.file) != network.sha256:
                raise _mismatch(f"{network.file} is not the file that {DESCRIPTION} describes.", network.file)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bundle_files(root: Path) -> list[str]:
    """Every file below a bundle's root but the list of hashes, by its relative name, sorted."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name != SUMS)


def write_sums(root: Path) -> None:
    """Write the list of hashes of all files, in the format of ``sha256sum``."""
    lines = [f"{file_sha256(root / name)}  {name}\n" for name in bundle_files(root)]
    (root / SUMS).write_text("".join(lines), encoding="utf-8")


def _root_of(folder: Path) -> Path:
    """Where the description lies: at the top, or in the only folder there."""
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not (folder / DESCRIPTION).exists():
        return entries[0]
    return folder


def _read_description(root: Path, name: str) -> ModelDescription:
    path = root / DESCRIPTION
    if not path.is_file():
        raise Refusal(
            Code.BUNDLE_UNREADABLE,
            f"There is no {DESCRIPTION} in {name}.",
            remedy="Name the folder or zip file that nnunet-losses export wrote.",
        )
    try:
        return ModelDescription.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise explain(error) from error


def _verify(root: Path) -> dict[str, str]:
    """Compare every file with its recorded hash, and return the hashes by name."""
    recorded = _read_sums(root)
    present = set(bundle_files(root))
    for name in sorted(recorded.keys() | present):
        if name not in present:
            raise _mismatch(f"{name} is listed in {SUMS}, but missing.", name)
        if name not in recorded:
            raise _mismatch(f"{name} is not listed in {SUMS}.", name)
        if (root / name).is_symlink() or file_sha256(root / name) != recorded[name]:
            raise _mismatch(f"{name} is not the file that {SUMS} lists.", name)
    return recorded


def _read_sums(root: Path) -> dict[str, str]:
    path = root / SUMS
    if not path.is_file():
        raise _mismatch(f"{SUMS} is missing.", SUMS)
    recorded = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or not name:
            raise _mismatch(f"{SUMS} has a line that is no hash and name: {line!r}.", SUMS)
        recorded[name] = digest.lower()
    return recorded


def _mismatch(detail: str, name: str) -> Refusal:
    remedy = "The bundle was changed or damaged: fetch it again, or export the model again."
    return Refusal(Code.BUNDLE_HASH_MISMATCH, detail, remedy=remedy, observed=name)
