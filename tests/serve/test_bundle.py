"""Loading bundles: folders and zip files, whole, changed and hostile."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.archive import extract
from nnunet_losses.serve.bundle import Bundle, write_sums
from nnunet_losses.serve.errors import Code, Refusal
from tests.models import ModelFolderSpec

from .pipeline.reference import write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", ModelFolderSpec())


def refused(code: Code, path: Path, words: str = "", **options: Any) -> Refusal:
    """The refusal that loading ends in."""
    with pytest.raises(Refusal) as caught:
        Bundle.load(path, **options)
    assert caught.value.code is code, str(caught.value)
    assert words in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value


def zipped(root: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.iterdir()):
            archive.write(path, prefix + path.name)
    return target


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change model.json, with right hashes."""
    path = root / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    write_sums(root)
    return root


def test_a_folder(root: Path) -> None:
    bundle = Bundle.load(str(root))
    assert bundle.root == root
    assert bundle.description.members[0].name == "3d_fullres"
    assert bundle.sha256 == hashlib.sha256((root / "SHA256SUMS").read_bytes()).hexdigest()
    assert bundle.file("fold_0.onnx") == root / "fold_0.onnx"


@pytest.mark.parametrize("prefix", ["", "liver/"])
def test_a_zip_is_the_folder_and_cleans_up(root: Path, tmp_path: Path, prefix: str) -> None:
    bundle = Bundle.load(zipped(root, tmp_path / "b.zip", prefix))
    assert bundle.sha256 == Bundle.load(root).sha256
    assert bundle.description == Bundle.load(root).description
    unpacked = bundle.root
    assert unpacked.exists()
    del bundle
    assert not unpacked.exists()


def test_sums_are_what_sha256sum_writes(root: Path) -> None:
    line = (root / "SHA256SUMS").read_text().splitlines()[0]
    assert line == f"{hashlib.sha256((root / 'fold_0.onnx').read_bytes()).hexdigest()}  fold_0.onnx"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "fold_0.onnx").write_bytes(b"other"), "fold_0.onnx"),
        (lambda root: (root / "fold_0.onnx").unlink(), "fold_0.onnx"),
        (lambda root: (root / "extra.txt").write_text("x"), "extra.txt"),
        (lambda root: (root / "SHA256SUMS").unlink(), "SHA256SUMS"),
        (lambda root: (root / "SHA256SUMS").write_text("nonsense\n"), "nonsense"),
        (lambda root: (root / "SHA256SUMS").write_bytes(b"\xff\xfe"), "SHA256SUMS"),
        (lambda root: (root / "link").symlink_to(root / "in.npy"), "link"),
    ],
)
def test_changed_files(root: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(root)
    refused(Code.BUNDLE_HASH_MISMATCH, root, words)


def test_a_network_that_is_not_the_described_one(root: Path) -> None:
    (root / "fold_0.onnx").write_bytes(b"other")
    write_sums(root)
    refused(Code.BUNDLE_HASH_MISMATCH, root, "fold_0.onnx")


def test_verification_can_be_left_out(root: Path) -> None:
    (root / "extra.txt").write_text("x")
    assert Bundle.load(root, verify=False).root == root


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    refused(Code.BUNDLE_UNREADABLE, tmp_path / "absent", "There is no file or folder absent")
    refused(Code.BUNDLE_UNREADABLE, tmp_path / "file", "neither a folder nor a zip file")
    refused(Code.BUNDLE_UNREADABLE, tmp_path / "folder", "no model.json in folder")


def test_json_that_is_none(root: Path) -> None:
    (root / "model.json").write_text("{")
    refused(Code.BUNDLE_UNREADABLE, root, "model.json", verify=False)


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one entry."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


PLAN = ("members", 0, "preprocessing")
TILING = ("members", 0, "tiling")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("schema_version", value=2), "schema_version"),
        (put("surprise", value=1), "surprise"),
        (put("reader", value="DicomIO"), "reader"),
        (put(*PLAN, "channels", 0, "normalization", value="MyNormalization"), "normalization"),
        (put(*PLAN, "resampling_image", "order", value=2), "order"),
        (put(*PLAN, "resampling_image", "function", value="os.system"), "function"),
        (put(*PLAN, "spacing", value=[1.0, 1.0]), "dimensions"),
        (put(*PLAN, "spacing", value=[1.0, 0.0, 1.0]), "spacing"),
        (put(*PLAN, "transpose_forward", value=[0, 0, 1]), "transpose_forward"),
        (put(*PLAN, "channels", value=[]), "channel"),
        (put(*PLAN, "channels", 0, "normalization", value="CTNormalization"), "CT"),
        (put(*TILING, "patch_size", value=[16, 0, 16]), "patch"),
        (put(*TILING, "patch_size", value=[16]), "dimensions"),
        (put(*TILING, "mirror_axes", value=[3]), "mirror_axes"),
        (put(*TILING, "mirror_axes", value=[0, 0]), "mirror_axes"),
        (put(*TILING, "step_size", value=0), "step_size"),
        (put("heads", value=4), "heads"),
        (put("labels", 0, "value", value=2), "value"),
        (put("ignore_label", value=1), "ignore"),
        (put("labels", 1, "name", value="lesion"), "twice"),
        (put("members", 0, "folds", 0, "file", value="../fold_0.onnx"), "outside"),
        (put("members", 0, "folds", 0, "file", value="/etc/passwd"), "outside"),
    ],
)
def test_descriptions_that_are_not_understood(root: Path, change: Any, words: str) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content["members"][0]["preprocessing"]["channels"][0]["mean"] = None
        change(content)

    refused(Code.BUNDLE_UNSUPPORTED, edit(root, spoil), words)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1"])
def test_numbers_that_are_none(root: Path, value: str) -> None:
    path = root / "model.json"
    content = json.loads(path.read_text())
    content["members"][0]["preprocessing"]["spacing"] = "SPACING"
    path.write_text(json.dumps(content).replace('"SPACING"', f"[1.0, {value}, 1.0]"))
    write_sums(root)
    refused(Code.BUNDLE_UNSUPPORTED, root)


def test_described_files_must_exist(root: Path) -> None:
    edit(root, put("golden", "mask", value="absent.nii.gz"))
    refused(Code.BUNDLE_UNREADABLE, root, "absent.nii.gz")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\b", "C:x"])
def test_files_outside_are_refused(root: Path, name: str) -> None:
    with pytest.raises(Refusal, match="outside"):
        Bundle.load(root).file(name)


def test_links_that_lead_outside_are_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Refusal, match="outside"):
        Bundle.load(root, verify=False).file("link")


def hostile(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def as_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("../evil", b"x")], "outside"),
        ([("/evil", b"x")], "outside"),
        ([("a\\..\\evil", b"x")], "outside"),
        ([(as_link("link"), b"/etc/passwd")], "no plain file"),
        ([("a", b"x"), ("A", b"y")], "twice"),
        ([("a", b"x"), ("a/b", b"y")], "twice"),
    ],
)
def test_hostile_zip_files(tmp_path: Path, entries: Any, words: str) -> None:
    refused(Code.BUNDLE_UNREADABLE, hostile(tmp_path / "b.zip", *entries), words)
    assert not (tmp_path / "evil").exists()


def test_zip_bombs_end_at_the_budget(tmp_path: Path) -> None:
    bomb = hostile(tmp_path / "b.zip", ("zeros", bytes(5_000_000)))
    (tmp_path / "out").mkdir()
    with pytest.raises(Refusal, match="more than"):
        extract(bomb, tmp_path / "out", maximum_bytes=1_000_000)
    assert not list((tmp_path / "out").iterdir())


def test_damaged_zip_files(root: Path, tmp_path: Path) -> None:
    path = zipped(root, tmp_path / "b.zip")
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    refused(Code.BUNDLE_UNREADABLE, path, "damaged")
