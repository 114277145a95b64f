"""nnU-Net's own predictor on the CPU: the reference for everything that the exporter claims."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .checkpoint import unwrapped
from .errors import ExportError
from .quiet import environment, quiet
from .trainer_class import find_trainer_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .model_folder import ModelFolder


def reference_predictor(model: ModelFolder) -> Any:
    """Build ``nnUNetPredictor`` with its defaults (step 0.5, Gaussian, mirroring) from the model's files.

    nnU-Net reads the files itself; the exporter's reading is not involved, but for two repairs without which
    nnU-Net would not load the model at all: DDP and compile prefixes are removed, and the trainer's class is
    shown to nnU-Net's search, which may be broken by a torchvision that does not fit torch.
    """
    import torch  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    with (
        quiet(),
        environment(nnUNet_compile="false"),
        _visible_trainer(model),
        _loadable_folder(model) as folder,
    ):
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(
            str(folder), tuple(checkpoint.fold for checkpoint in model.checkpoints), model.checkpoint_name
        )
    return predictor


def predict_file(predictor: Any, inputs: Sequence[Path], output: Path) -> Any:
    """Predict one case from files to a mask file, as ``nnUNetv2_predict -device cpu -npp 0 -nps 0`` does.

    Returns:
        The logits (heads, *resampled shape), float16, that nnU-Net made the mask of.

    Raises:
        ExportError: nnU-Net fails, as it does where logits overflow float16.
    """
    logits: list[Any] = []
    files = [str(path) for path in inputs]
    with TemporaryDirectory() as scratch, quiet(), _captured(predictor, logits):
        try:
            predictor.predict_from_files_sequential([files], [f"{scratch}/mask"])
        except RuntimeError as error:
            raise ExportError(f"nnU-Net itself fails on {inputs[0].name}: {error}") from error
        output.write_bytes(Path(f"{scratch}/mask{predictor.dataset_json['file_ending']}").read_bytes())
    return logits[0]


def preprocess(predictor: Any, inputs: Sequence[Path]) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Read and preprocess one case: float32 (channels, *resampled shape) and nnU-Net's properties."""
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    plans = predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
    with quiet():
        data, _, properties = preprocessor.run_case([str(path) for path in inputs], None, *plans)
    return data, properties


def tiles(predictor: Any, data: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Pad preprocessed data and cut it as nnU-Net does: (slices, tile (1, channels, *patch) tensor)."""
    import torch  # noqa: PLC0415
    from acvl_utils.cropping_and_padding.padding import pad_nd_image  # noqa: PLC0415

    patch = predictor.configuration_manager.patch_size
    padded, _ = pad_nd_image(torch.from_numpy(data), patch, "constant", {"value": 0}, True, None)  # noqa: FBT003
    for slices in predictor._internal_get_sliding_window_slicers(padded.shape[1:]):  # noqa: SLF001 - there is no public way
        yield slices, padded[slices][None].contiguous()


@contextmanager
def _captured(predictor: Any, logits: list[Any]) -> Iterator[None]:
    """Keep the logits that the predictor computes on its way from file to file."""
    predict = predictor.predict_logits_from_preprocessed_data

    def captured(data: Any) -> Any:
        logits.append(predict(data))
        return logits[-1]

    predictor.predict_logits_from_preprocessed_data = captured
    try:
        yield
    finally:
        del predictor.predict_logits_from_preprocessed_data


@contextmanager
def _visible_trainer(model: ModelFolder) -> Iterator[None]:
    """Show the trainer's class in the first module that nnU-Net's search looks into."""
    module = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")

    name = model.first.trainer
    if hasattr(module, name):
        yield
        return
    setattr(module, name, find_trainer_class(name))
    try:
        yield
    finally:
        delattr(module, name)


@contextmanager
def _loadable_folder(model: ModelFolder) -> Iterator[Path]:
    """Give the model folder, or a copy with plain parameter names where a checkpoint has prefixes."""
    import torch  # noqa: PLC0415

    if all(unwrapped(checkpoint.weights) is checkpoint.weights for checkpoint in model.checkpoints):
        yield model.path
        return
    with TemporaryDirectory() as scratch:
        for name in ("plans.json", "dataset.json"):
            (Path(scratch) / name).write_bytes((model.path / name).read_bytes())
        for checkpoint in model.checkpoints:
            content = torch.load(checkpoint.path, map_location="cpu", weights_only=False)
            content["network_weights"] = unwrapped(content["network_weights"])
            folder = Path(scratch) / f"fold_{checkpoint.fold}"
            folder.mkdir()
            torch.save(content, folder / model.checkpoint_name)
        yield Path(scratch)
