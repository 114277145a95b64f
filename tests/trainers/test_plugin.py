"""How nnU-Net finds the trainers: register, the discovery folder, start-up hooks and their removal."""

from __future__ import annotations

import os
import pkgutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from nnunet_losses import trainers
from nnunet_losses.trainers import plugin, startup
from tests.trainers.environments import Environment, make_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIND = """
import sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
for name in sys.argv[1:]:
    print(find(name).__module__)
"""


@pytest.fixture(scope="module")
def shared_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return make_environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture
def environment(shared_environment: Environment) -> Iterator[Environment]:
    """Give an environment without hooks; take back what the test wrote."""
    before = {path: path.read_bytes() for path in shared_environment.site_packages.glob("*.pth")}
    yield shared_environment
    for path in shared_environment.site_packages.iterdir():
        if path.is_file() and path not in before:
            path.unlink()


# --- register ---


def test_register_serves_ours_and_leaves_nnunets_alone(environment: Environment) -> None:
    """In one process: our names, with a variant and epochs, and every kind of nnU-Net's own."""
    code = f"""
import os, sys
from nnunet_losses.trainers import register
register(); register()
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
for name in ("nnUNetTrainerDice", "nnUNetTrainerDiceCE_wce2_DA5_5epochs", "nnUNetTrainerCELoss_5epochs",
             "nnUNetTrainer", "nnUNetTrainer_250epochs", "nnUNetTrainerDiceCELoss_noSmooth"):
    print(find(name).__module__.split(".")[0], find(name) is find(name))
assert os.environ["{plugin.VARIABLE}"].split(os.pathsep) == ["/mine", {str(plugin.DISCOVERY)!r}]
"""
    lines = environment.code(code, **{plugin.VARIABLE: "/mine"}).splitlines()
    assert lines == ["nnunet_losses True"] * 2 + ["nnunetv2 True"] * 4


def test_nearly_right_names_get_a_hint_and_the_search_goes_on(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerDice_1epoch(nnUNetTrainer): pass\n"
    )
    done = environment.run(
        "-c", "from nnunet_losses.trainers import register; register()" + FIND, "nnUNetTrainerDice_1epoch",
        **{plugin.VARIABLE: str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "mine"
    assert done.stderr.count("The nearest valid name is nnUNetTrainerDice_1epochs.") == 1


def test_attach_keeps_what_a_module_has() -> None:
    module = ModuleType("example")
    module.__getattr__ = {"known": 7}.__getitem__  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyError):
        module.unknown  # noqa: B018
    module = ModuleType("example")

    def present(name: str) -> int:
        if name == "known":
            return 7
        raise AttributeError(name)

    module.__getattr__ = present  # type: ignore[method-assign, assignment]
    startup.attach(module)
    startup.attach(module)
    assert module.known == 7
    assert module.nnUNetTrainerDice_5epochs is trainers.nnUNetTrainerDice_5epochs
    for name in ("nnUNetTrainerDice_0epochs", "nnUNetTrainerCELoss", "unknown"):
        assert not hasattr(module, name)


def test_package_hands_out_only_what_it_has() -> None:
    assert "nnUNetTrainerDiceTopK" in dir(trainers)
    assert callable(trainers.register)
    for name in ("nnUNetTrainer", "nnUNetTrainerCELoss", "anything"):
        with pytest.raises(AttributeError):
            getattr(trainers, name)


# --- the discovery folder ---


def test_discovery_folder_gives_the_same_class_each_time(environment: Environment) -> None:
    """nnU-Net forgets modules of such folders; the classes must survive, also a trip to a spawned process."""
    code = """
import multiprocessing, pickle
from nnunet_losses.trainers import startup
startup.watch_torchvision()
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
first = find("nnUNetTrainerTopK_k0p2")
assert first is find("nnUNetTrainerTopK_k0p2")
assert "nnunet_losses_trainers" not in __import__("sys").modules
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(pickle.dumps, (first,)) == pickle.dumps(first))
"""
    lines = environment.code(code, **{plugin.VARIABLE: str(plugin.DISCOVERY)}).splitlines()
    assert lines[-1] == "True"


def test_discovery_folder_holds_one_module() -> None:
    """As nnU-Net looks: one that cannot be mistaken for somebody else's."""
    assert [module.name for module in pkgutil.iter_modules([str(plugin.DISCOVERY)])] == [
        "nnunet_losses_trainers"
    ]


def test_search_path_keeps_what_is_there() -> None:
    ours = str(plugin.DISCOVERY)
    assert plugin.search_path("") == ours
    assert plugin.search_path(ours) == ours
    assert plugin.search_path(f"/a{os.pathsep}{os.pathsep}/b") == os.pathsep.join(["/a", "/b", ours])


# --- start-up hooks ---


def test_hook_makes_plain_nnunet_find_the_trainers_and_can_be_taken_back(environment: Environment) -> None:
    before = sorted(environment.site_packages.iterdir())
    assert environment.nnunet_losses("enable").returncode == 0
    after_once = {path: path.read_text() for path in environment.site_packages.glob("nnunet_losses_*")}
    assert environment.nnunet_losses("enable").returncode == 0  # twice is as once
    assert {
        path: path.read_text() for path in environment.site_packages.glob("nnunet_losses_*")
    } == after_once
    found = environment.run("-c", FIND, "nnUNetTrainerDice", "nnUNetTrainerCELoss_5epochs")
    assert found.returncode == 0, found.stderr
    assert [line.split(".")[0] for line in found.stdout.splitlines()] == ["nnunet_losses", "nnunetv2"]
    done = environment.nnunet_losses("disable")
    assert done.stdout.count("removed") == 2
    assert sorted(environment.site_packages.iterdir()) == before
    assert "nothing to remove" in environment.nnunet_losses("disable").stdout


def test_hooks_cost_little_and_import_nothing_heavy(environment: Environment) -> None:
    environment.nnunet_losses("enable")
    code = "import sys; print([m for m in ('torch', 'numpy', 'nnunetv2', 'typer', 're') if m in sys.modules])"
    heavy = environment.code(code)
    environment.nnunet_losses("disable")
    assert heavy == environment.code(code)


@pytest.mark.parametrize("damage", ["absent", "broken"])
def test_hooks_are_silent_without_the_package(damage: str, environment: Environment, tmp_path: Path) -> None:
    environment.nnunet_losses("enable")
    if damage == "absent":
        finder = "import sys; sys.meta_path.insert(0, type('F', (), {'find_spec': staticmethod(hide)}))"
        hide = (
            "def hide(name, path=None, target=None):\n if name == 'nnunet_losses': raise ImportError(name)\n"
        )
        (environment.site_packages / "hiding.py").write_text(f"{hide}\n{finder}\n")
    else:
        (tmp_path / "nnunet_losses").mkdir()
        (tmp_path / "nnunet_losses" / "__init__.py").write_text("1 +\n")
        (environment.site_packages / "hiding.py").write_text(
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        )
    (environment.site_packages / "a_first.pth").write_text("import hiding\n")
    done = environment.run("-c", "print('alive')")
    assert (done.stdout, done.stderr, done.returncode) == ("alive\n", "", 0)


def test_a_failing_hook_does_not_disturb_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "watched_example.py").write_text("value = 7\n")

    def fail(_: ModuleType) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [startup.Watcher("watched_example", before=fail), *sys.meta_path])
    assert __import__("watched_example").value == 7
    assert "start-up hook for watched_example failed: RuntimeError('on purpose')" in capsys.readouterr().err


def test_a_watcher_sees_the_module_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "watched_twice.py").write_text("value = 7\n")
    seen: list[tuple[str, bool]] = []
    watcher = startup.Watcher(
        "watched_twice",
        before=lambda module: seen.append(("before", hasattr(module, "value"))),
        after=lambda module: seen.append(("after", hasattr(module, "value"))),
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [watcher, *sys.meta_path])
    __import__("watched_twice")
    assert seen == [("before", False), ("after", True)]


def test_refuses_an_environment_of_the_operating_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(plugin.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(
        plugin.CannotEnableError, match=r"managed by the operating system.*virtual environment"
    ):
        plugin.enable()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "EXTERNALLY-MANAGED"]


def test_refuses_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugin, "site_packages", lambda: tmp_path / "absent")
    with pytest.raises(plugin.CannotEnableError, match=r"cannot be written.*nnunet-losses env"):
        plugin.enable()


# --- the torchvision repair ---

FAKE_TORCHVISION = {
    "__init__.py": "__version__ = '0.0'\nfrom . import extension, _meta_registrations\n",
    "extension.py": "def _has_ops(): return False\n",
    "_meta_registrations.py": "import torch\n@torch.library.register_fake('torchvision::nms')\n"
    "def meta_nms(dets, scores, iou_threshold): return dets\n",
}


@pytest.fixture
def misfit(environment: Environment) -> Iterator[Environment]:
    """An environment whose torchvision registers the shape of an operator that does not exist."""
    folder = environment.site_packages / "torchvision"
    folder.mkdir()
    for name, text in FAKE_TORCHVISION.items():
        (folder / name).write_text(text)
    yield environment
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    folder.rmdir()


def test_repair_makes_a_misfit_torchvision_importable(misfit: Environment) -> None:
    broken = misfit.run("-c", "import torchvision")
    assert "operator torchvision::nms does not exist" in broken.stderr
    mended = misfit.nnunet_losses("doctor", "--mend")
    assert f"{plugin.TORCHVISION_HOOK} declares the missing operators" in mended.stdout
    assert not (misfit.site_packages / plugin.TRAINERS_HOOK).exists()
    assert misfit.code("import torchvision; print(torchvision.__version__)") == "0.0"


def test_repair_does_nothing_where_the_operators_exist(environment: Environment) -> None:
    code = """
import torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from nnunet_losses.trainers.torchvision_repair import declare_missing_operators
print(declare_missing_operators())
"""
    assert environment.code(code) == "[]"
