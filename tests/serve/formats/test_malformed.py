"""A corpus of broken files, made here, each with the code that it must be refused with.

ITK reads many of them without a word: half of the volume is zero, or the spacing is 1.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.formats import Limits, read_image
from nnunet_losses.serve.schema import Reader

from .files import (
    BITPIX,
    DATATYPE,
    DIM,
    MAGIC,
    PIXDIM,
    QFORM_CODE,
    SCL_INTER,
    SCL_SLOPE,
    SROW,
    VOX_OFFSET,
    compressed,
    cut,
    flip_bit,
    noise,
    patch,
    refusal_code,
    replace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAN, INF = float("nan"), float("inf")


def code_of(*files: Path, limits: Limits | None = None) -> Code:
    return refusal_code(lambda: read_image(files, reader=Reader.SIMPLE_ITK, limits=limits or Limits()))


def nii(folder: Path) -> Path:
    return write(folder / "a.nii", noise())


def gz(folder: Path) -> Path:
    return write(folder / "a.nii.gz", noise((20, 20, 20)))


def patched(offset: int, form: str, *values: Any) -> Callable[[Path], Path]:
    return lambda folder: patch(nii(folder), offset, form, *values)


def patched_gz(offset: int, form: str, *values: Any) -> Callable[[Path], Path]:
    return lambda folder: compressed(patch(nii(folder), offset, form, *values))


def content(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def wrong_crc(folder: Path) -> Path:
    file = gz(folder)
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    return file


def wrong_length(folder: Path) -> Path:
    file = gz(folder)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return file


def saved(array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
        image.set_qform(None, 0)
        image.set_sform(np.eye(4) if affine is None else affine, 2)
        nibabel.save(image, folder / "a.nii.gz")
        return folder / "a.nii.gz"

    return make


def nifti_2(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti2Image(noise(), np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def vectors(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
        sitk.WriteImage(image, str(folder / f"a{ending}"))
        return folder / f"a{ending}"

    return make


def longer(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = write(folder / f"a{ending}", noise())
        file.write_bytes(file.read_bytes() + bytes(6 * 7 * 4))
        return file

    return make


def shorter(ending: str, keep: float = 0.9, *, compress: bool = False) -> Callable[[Path], Path]:
    return lambda folder: cut(write(folder / f"a{ending}", noise((9, 9, 9)), compress=compress), keep)


def flipped(ending: str, where: float = 0.8) -> Callable[[Path], Path]:
    return lambda folder: flip_bit(write(folder / f"a{ending}", noise((9, 9, 9)), compress=True), where)


def header(ending: str, old: bytes, new: bytes) -> Callable[[Path], Path]:
    return lambda folder: replace(write(folder / f"a{ending}", noise()), old, new)


def header_bomb(folder: Path) -> Path:
    file = patch(nii(folder), DIM, "<4h", 3, 30000, 30000, 30000)
    file.write_bytes(gzip.compress(file.read_bytes()[:352]))
    return file.rename(folder / "bomb.nii.gz")


def zeros_bomb(folder: Path) -> Path:
    """Small header, few bytes, gigabytes of zeros."""
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(nii(folder).read_bytes())
    for _ in range(64):
        data += packer.compress(bytes(1 << 20))
    (folder / "b.nii.gz").write_bytes(data + packer.flush())
    return folder / "b.nii.gz"


SHEAR = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

CORPUS: dict[str, tuple[Callable[[Path], Path], Code]] = {
    "absent": (lambda folder: folder / "a.nii.gz", Code.INPUT_MISSING),
    "folder": (lambda folder: (folder / "a.nii.gz").mkdir() or folder / "a.nii.gz", Code.INPUT_UNREADABLE),
    "empty": (content("a.nii.gz", b""), Code.INPUT_TRUNCATED),
    "empty nii": (content("a.nii", b""), Code.INPUT_TRUNCATED),
    "text named nii.gz": (content("a.nii.gz", b"not an image\n" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text named nii": (content("a.nii", b"not an image\n" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text named nrrd": (content("a.nrrd", b"not an image\n\n" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text named mha": (content("a.mha", b"not = an\nimage\n" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text named gipl": (content("a.gipl", b"not an image\n" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "gzipped text": (content("a.nii.gz", gzip.compress(b"text" * 999)), Code.INPUT_UNSUPPORTED_FORMAT),
    "gzip of nothing": (content("a.nii.gz", gzip.compress(b"")), Code.INPUT_TRUNCATED),
    "unknown ending": (content("a.jpg", b"\xff\xd8\xff"), Code.INPUT_UNSUPPORTED_FORMAT),
    "header and image apart": (content("a.mhd", b"NDims = 3\n"), Code.INPUT_UNSUPPORTED_FORMAT),
    "gzip named nii": (lambda folder: gz(folder).rename(folder / "b.nii"), Code.INPUT_UNSUPPORTED_FORMAT),
    "nii named nii.gz": (
        lambda folder: nii(folder).rename(folder / "b.nii.gz"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "truncated gzip": (lambda folder: cut(gz(folder), 0.5), Code.INPUT_TRUNCATED),
    "gzip without its last byte": (lambda folder: cut(gz(folder), 0.9999), Code.INPUT_TRUNCATED),
    "gzip cut in the header": (lambda folder: cut(gz(folder), 0.001), Code.INPUT_TRUNCATED),
    "bit flip": (lambda folder: flip_bit(gz(folder), 0.6), Code.INPUT_CORRUPT),
    "wrong check sum": (wrong_crc, Code.INPUT_CORRUPT),
    "wrong length": (wrong_length, Code.INPUT_CORRUPT),
    "garbage after gzip": (
        lambda folder: content("b.nii.gz", gz(folder).read_bytes() + b"garbage")(folder),
        Code.INPUT_CORRUPT,
    ),
    "truncated nii": (lambda folder: cut(nii(folder), 0.5), Code.INPUT_TRUNCATED),
    "nii without its last byte": (lambda folder: cut(nii(folder), 0.9999), Code.INPUT_TRUNCATED),
    "nii cut in the header": (lambda folder: cut(nii(folder), 0.1), Code.INPUT_TRUNCATED),
    "whole gzip of half a nii": (lambda folder: compressed(cut(nii(folder), 0.5)), Code.INPUT_TRUNCATED),
    "more voxels than announced": (longer(".nii"), Code.INPUT_CORRUPT),
    "header bomb": (header_bomb, Code.INPUT_TOO_LARGE),
    "one size too large": (patched(DIM + 2, "<h", 9), Code.INPUT_TRUNCATED),
    "no dimension": (patched(DIM, "<h", 0), Code.INPUT_CORRUPT),
    "eight dimensions": (patched(DIM, "<h", 8), Code.INPUT_CORRUPT),
    "zero size": (patched(DIM + 4, "<h", 0), Code.INPUT_CORRUPT),
    "negative size": (patched(DIM + 4, "<h", -6), Code.INPUT_CORRUPT),
    "four dimensions": (saved(noise((7, 6, 5, 2))), Code.INPUT_UNSUPPORTED_FORMAT),
    "five dimensions": (saved(noise((7, 6, 5, 1, 3))), Code.INPUT_UNSUPPORTED_FORMAT),
    "one dimension": (saved(noise((7,))), Code.INPUT_UNSUPPORTED_FORMAT),
    "complex": (saved(noise().astype(np.complex64)), Code.INPUT_UNSUPPORTED_FORMAT),
    "rgb": (
        saved(np.zeros((7, 6, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "single bits": (patched(DATATYPE, "<hh", 1, 1), Code.INPUT_UNSUPPORTED_FORMAT),
    "128-bit numbers": (patched(DATATYPE, "<hh", 1536, 128), Code.INPUT_UNSUPPORTED_FORMAT),
    "unknown type": (patched(DATATYPE, "<h", 77), Code.INPUT_CORRUPT),
    "type against width": (patched(BITPIX, "<h", 16), Code.INPUT_CORRUPT),
    "nan spacing": (patched(PIXDIM + 4, "<f", NAN), Code.INPUT_CORRUPT),
    "nan spacing, gzipped": (patched_gz(PIXDIM + 8, "<f", NAN), Code.INPUT_CORRUPT),
    "infinite spacing": (patched(PIXDIM + 8, "<f", INF), Code.INPUT_CORRUPT),
    "zero spacing": (patched(PIXDIM + 12, "<f", 0.0), Code.INPUT_CORRUPT),
    "negative spacing": (patched(PIXDIM + 4, "<f", -1.0), Code.INPUT_CORRUPT),
    "nan slope": (patched(SCL_SLOPE, "<f", NAN), Code.INPUT_CORRUPT),
    "infinite intercept": (patched(SCL_INTER, "<f", INF), Code.INPUT_CORRUPT),
    "nan offset": (patched(VOX_OFFSET, "<f", NAN), Code.INPUT_CORRUPT),
    "offset in the header": (patched(VOX_OFFSET, "<f", 0.0), Code.INPUT_CORRUPT),
    "offset behind the end": (patched(VOX_OFFSET, "<f", 1e6), Code.INPUT_TRUNCATED),
    "nan in the transform": (patched(SROW + 4, "<f", NAN), Code.INPUT_CORRUPT),
    "nan in the quaternion": (
        lambda folder: patch(patch(nii(folder), QFORM_CODE, "<hh", 1, 0), 268, "<f", NAN),
        Code.INPUT_CORRUPT,
    ),
    "pair of header and image": (patched(MAGIC, "4s", b"ni1\0"), Code.INPUT_UNSUPPORTED_FORMAT),
    "analyze": (patched(MAGIC, "4s", b"\0\0\0\0"), Code.INPUT_UNSUPPORTED_FORMAT),
    "nifti 2": (nifti_2, Code.INPUT_UNSUPPORTED_FORMAT),
    "sheared": (saved(noise(), SHEAR), Code.INPUT_UNSUPPORTED_FORMAT),
    "truncated nrrd": (shorter(".nrrd"), Code.INPUT_TRUNCATED),
    "truncated packed nrrd": (shorter(".nrrd", compress=True), Code.INPUT_TRUNCATED),
    "bit flip in nrrd": (flipped(".nrrd"), Code.INPUT_CORRUPT),
    "truncated mha": (shorter(".mha"), Code.INPUT_TRUNCATED),
    "truncated packed mha": (shorter(".mha", compress=True), Code.INPUT_TRUNCATED),
    "bit flip in mha": (flipped(".mha"), Code.INPUT_CORRUPT),
    "truncated gipl": (shorter(".gipl"), Code.INPUT_TRUNCATED),
    "gipl cut in the header": (shorter(".gipl", 0.05), Code.INPUT_TRUNCATED),
    "more in mha": (longer(".mha"), Code.INPUT_CORRUPT),
    "more in nrrd": (longer(".nrrd"), Code.INPUT_CORRUPT),
    "more in gipl": (longer(".gipl"), Code.INPUT_CORRUPT),
    "vectors in mha": (vectors(".mha"), Code.INPUT_UNSUPPORTED_FORMAT),
    "vectors in nrrd": (vectors(".nrrd"), Code.INPUT_UNSUPPORTED_FORMAT),
    "vectors in nii": (vectors(".nii.gz"), Code.INPUT_UNSUPPORTED_FORMAT),
    "mha with another file's voxels": (
        header(".mha", b"ElementDataFile = LOCAL", b"ElementDataFile = /etc/passwd"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "mha as text": (
        header(".mha", b"BinaryData = True", b"BinaryData = False"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "mha with nan spacing": (
        header(".mha", b"ElementSpacing = 0.5 0.75 2", b"ElementSpacing = nan 0.75 2"),
        Code.INPUT_CORRUPT,
    ),
    "mha with words for sizes": (header(".mha", b"DimSize = 7 6 5", b"DimSize = 7 6 x"), Code.INPUT_CORRUPT),
    "mha with zero size": (header(".mha", b"DimSize = 7 6 5", b"DimSize = 7 0 5"), Code.INPUT_CORRUPT),
    "mha bomb": (header(".mha", b"DimSize = 7 6 5", b"DimSize = 99999 99999 999"), Code.INPUT_TOO_LARGE),
    "mha of unknown type": (header(".mha", b"MET_FLOAT", b"MET_OTHER"), Code.INPUT_UNSUPPORTED_FORMAT),
    "nrrd with another file's voxels": (
        header(".nrrd", b"encoding: raw", b"data file: /etc/passwd\nencoding: raw"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "nrrd as text": (header(".nrrd", b"encoding: raw", b"encoding: ascii"), Code.INPUT_UNSUPPORTED_FORMAT),
    "nrrd with a skip": (
        header(".nrrd", b"encoding: raw", b"encoding: raw\nbyte skip: 4"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "nrrd bomb": (header(".nrrd", b"sizes: 7 6 5", b"sizes: 99999 99999 999"), Code.INPUT_TOO_LARGE),
    "nrrd with words for sizes": (header(".nrrd", b"sizes: 7 6 5", b"sizes: 7 6 five"), Code.INPUT_CORRUPT),
    "nrrd against its dimension": (header(".nrrd", b"dimension: 3", b"dimension: 2"), Code.INPUT_CORRUPT),
    "nrrd of blocks": (header(".nrrd", b"type: float", b"type: block"), Code.INPUT_UNSUPPORTED_FORMAT),
    "nrrd with nan spacing": (
        header(".nrrd", b"(0.5,0,0)", b"(nan,0,0)"),
        Code.INPUT_CORRUPT,
    ),
    "nrrd sheared": (header(".nrrd", b"(0,0.75,0)", b"(0.3,0.75,0)"), Code.INPUT_UNSUPPORTED_FORMAT),
    "gipl of unknown type": (
        lambda folder: patch(write(folder / "a.gipl", noise()), 8, ">H", 99),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "gipl with nan spacing": (
        lambda folder: patch(write(folder / "a.gipl", noise()), 10, ">f", NAN),
        Code.INPUT_CORRUPT,
    ),
    "gipl with zero size": (
        lambda folder: patch(write(folder / "a.gipl", noise()), 2, ">H", 0),
        Code.INPUT_CORRUPT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_is_refused_with_its_code(tmp_path: Path, name: str) -> None:
    make, code = CORPUS[name]
    assert code_of(make(tmp_path)) is code


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    file = nii(tmp_path)
    monkeypatch.setattr(type(file), "open", forbidden)  # the tests may run as root, who may read everything
    assert code_of(file) is Code.INPUT_UNREADABLE


def test_budgets(tmp_path: Path) -> None:
    file = gz(tmp_path)
    size = 352 + 4 * 20**3
    assert code_of(file, limits=Limits(decoded_bytes=size - 1)) is Code.INPUT_TOO_LARGE
    assert code_of(file, limits=Limits(file_bytes=100)) is Code.INPUT_TOO_LARGE
    read_image([file], reader=Reader.SIMPLE_ITK, limits=Limits(decoded_bytes=size))


def test_a_bomb_is_unpacked_no_further_than_its_header_announces(tmp_path: Path) -> None:
    from nnunet_losses.serve.errors import Refusal

    file = zeros_bomb(tmp_path)
    assert file.stat().st_size < 200_000
    with pytest.raises(Refusal) as caught:
        read_image([file], reader=Reader.SIMPLE_ITK)
    assert caught.value.code is Code.INPUT_CORRUPT
    assert caught.value.observed <= 2 << 20


def test_figures_are_told(tmp_path: Path) -> None:
    from nnunet_losses.serve.errors import Refusal

    with pytest.raises(Refusal) as caught:
        read_image([cut(nii(tmp_path), 0.5)], reader=Reader.SIMPLE_ITK)
    assert (caught.value.observed, caught.value.expected) == ((352 + 4 * 210) // 2, 352 + 4 * 210)
    assert "a.nii" in caught.value.detail
