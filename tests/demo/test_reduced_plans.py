from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.models import ModelFolderSpec, plans
from tools.reduced_plans import Reduction, main, reduced_plans, write_reduced_plans

if TYPE_CHECKING:
    from pathlib import Path

SPECS = {
    "3d": ModelFolderSpec(patch_size=(32, 48, 40), features=(8, 16, 32, 64)),
    "2d": ModelFolderSpec(patch_size=(64, 48), spacing=(1.0, 1.0), features=(8, 16, 32, 64)),
    "residual": ModelFolderSpec(
        patch_size=(32, 48, 40), features=(8, 16, 32, 64), architecture="ResidualEncoderUNet"
    ),
}


def configuration(content: dict[str, Any]) -> dict[str, Any]:
    (only,) = content["configurations"].values()
    return only


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def planned(request: pytest.FixtureRequest) -> dict[str, Any]:
    return plans(request.param)


def test_only_name_network_patch_and_batch_change(planned: dict[str, Any]) -> None:
    before = json.dumps(planned)
    result = reduced_plans(
        planned, Reduction((4, 8, 16), patch_size=(20, 20, 20), batch_size=1), name="Small"
    )
    assert json.dumps(planned) == before
    assert {key for key in planned if planned[key] != result[key]} == {"plans_name", "configurations"}
    old, new = configuration(planned), configuration(result)
    assert {key for key in old if old[key] != new[key]} <= {"architecture", "patch_size", "batch_size"}
    assert new["data_identifier"] == old["data_identifier"]


def test_the_network_can_be_built_and_trains_one_step(planned: dict[str, Any]) -> None:
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    own = configuration(reduced_plans(planned, Reduction((4, 8, 12), batch_size=2), name="Small"))
    network = get_network_from_plans(
        own["architecture"]["network_class_name"], own["architecture"]["arch_kwargs"],
        own["architecture"]["_kw_requires_import"], 1, 3, deep_supervision=True,
    )  # fmt: skip
    outputs = network(torch.randn(2, 1, *own["patch_size"]))
    assert [output.shape[1] for output in outputs] == [3, 3]
    assert list(outputs[0].shape[2:]) == own["patch_size"]
    sum(output.sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.decoder.stages.parameters())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [32, 48, 40]),
        ((16, 20, 99), [16, 20, 40]),
        ((18, 21, 23), [16, 20, 20]),
        ((16, 16), [32, 48, 40]),
    ],
)
def test_patches_are_divisible_and_never_larger_than_planned(
    wanted: tuple[int, ...] | None, expected: list[int]
) -> None:
    result = reduced_plans(plans(SPECS["3d"]), Reduction((4, 8, 16), patch_size=wanted), name="Small")
    assert configuration(result)["patch_size"] == expected


def test_more_stages_than_planned_keep_the_planned_number() -> None:
    result = reduced_plans(plans(SPECS["3d"]), Reduction((2, 4, 6, 8, 10, 12)), name="Small")
    network = configuration(result)["architecture"]["arch_kwargs"]
    assert network["n_stages"] == 4
    assert network["features_per_stage"] == [2, 4, 6, 8]


def test_a_patch_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="larger patch or fewer stages"):
        reduced_plans(plans(SPECS["3d"]), Reduction((4, 8, 16, 32), patch_size=(8, 8, 8)), name="Small")


def test_the_old_name_is_refused() -> None:
    with pytest.raises(ValueError, match="name of their own"):
        reduced_plans(plans(SPECS["3d"]), Reduction(), name="nnUNetPlans")


@pytest.mark.parametrize(
    "change", [{"features": (8, 8)}, {"features": (8, 0, 8)}, {"batch_size": -1}, {"convolutions": 0}]
)
def test_senseless_reductions_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be positive|three stages"):
        Reduction(**change)


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(plans(SPECS["2d"])))
    main(
        [str(tmp_path), "--name", "Tiny", "--features", "4", "8", "12", "--patch", "16", "16", "--batch", "3"]
    )
    written = configuration(json.loads((tmp_path / "Tiny.json").read_text()))
    assert (written["patch_size"], written["batch_size"]) == ([16, 16], 3)
    assert "Tiny.json" in capsys.readouterr().out


def test_a_folder_without_plans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="plan_and_preprocess"):
        write_reduced_plans(tmp_path)
    with pytest.raises(SystemExit, match="plan_and_preprocess"):
        main([str(tmp_path)])


def test_nnunet_trains_an_iteration_with_reduced_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On data that was preprocessed for the full plans, one step in this process."""
    import torch
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = _preprocessed(tmp_path)
    write_reduced_plans(folder, Reduction((4, 8, 8), patch_size=(32, 32), batch_size=2))
    content = json.loads((folder / "nnUNetReducedPlans.json").read_text())
    settings = {"nnUNet_preprocessed": str(tmp_path), "nnUNet_results": str(tmp_path / "results")}
    for name, value in (settings | {"nnUNet_n_proc_DA": "0"}).items():
        monkeypatch.setenv(name, value)
    dataset = json.loads((folder / "dataset.json").read_text())
    content["continue_training"] = False
    training = nnUNetTrainer(content, "2d", "all", dataset, torch.device("cpu"))
    training.initialize()
    training.dataset_class = infer_dataset_class(training.preprocessed_dataset_folder)
    loader, _ = training.get_dataloaders()
    batch = next(loader)
    assert tuple(batch["data"].shape) == (2, 1, 32, 32)
    assert training.train_step(batch)["loss"] < 10


def _preprocessed(root: Path) -> Path:
    """Preprocess three phantoms with nnU-Net's own preprocessor, in this process."""
    from dataclasses import replace

    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_losses.phantom import Phantom, write_dataset

    settings = replace(Phantom.of_dimension(2), size=(48, 48))
    raw = write_dataset(root / "raw", settings=settings, cases=3, test_cases=0, name="Dataset999_Random")
    spec = ModelFolderSpec(
        patch_size=(48, 48), spacing=(1.0, 1.0), reader="NaturalImage2DIO", file_ending=".png"
    )
    content = plans(spec)
    folder = root / "Dataset999_Random"
    data = folder / content["configurations"]["2d"]["data_identifier"]
    (data).mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text((raw / "dataset.json").read_text())
    manager = PlansManager(content)
    for labels in sorted((raw / "labelsTr").iterdir()):
        image = raw / "imagesTr" / f"{labels.stem}_0000.png"
        DefaultPreprocessor(verbose=False).run_case_save(
            str(data / labels.stem), [str(image)], str(labels), manager, manager.get_configuration("2d"),
            str(folder / "dataset.json"),
        )  # fmt: skip
    return folder
