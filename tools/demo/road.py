"""The road from drawn data to proven bundles, by the commands that a user types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Parity

from ..reduced_plans import write_reduced_plans
from .plan import PLANS
from .process import assignments, output_of

if TYPE_CHECKING:
    from .plan import Plan
    from .process import Runner

TRAINING_LIMIT = 1200.0  # seconds; a bound for slow machines, not an expectation


def environment(plan: Plan) -> dict[str, str]:
    """Return the variables of all commands; ``nnunet-losses env`` says where the trainers are."""
    # nnUNetv2_train -device cpu starts a thread for every core, whatever OMP_NUM_THREADS says. Threads that
    # spin while they wait make it many times slower on a busy machine.
    patience = {"OMP_WAIT_POLICY": "PASSIVE"}
    return {**plan.environment(), **patience, **assignments(output_of(["nnunet-losses", "env"]))}


def draw_data(plan: Plan, runner: Runner) -> None:
    """Write phantoms. Lesions are the only label, so that a lesion-free case has an empty answer."""
    flavour = plan.flavour
    runner.run(
        "nnunet-losses", "phantom", plan.raw.parent, "--dimension", flavour.dimension, "--labels", "lesion",
        "--cases", flavour.cases, "--test-cases", flavour.test_cases, "--lesion-free", 0.4,
        "--seed", plan.seed,
        log="phantom", limit=120,
    )  # fmt: skip


def prepare(plan: Plan, runner: Runner) -> None:
    """Plan and preprocess as nnU-Net does, then write smaller plans beside its own."""
    runner.run(
        "nnUNetv2_plan_and_preprocess", "-d", plan.dataset_id, "-c", plan.flavour.configuration,
        "--verify_dataset_integrity", "-np", 1, "-npfp", 1,
        log="preprocess", limit=600,
    )  # fmt: skip
    write_reduced_plans(plan.preprocessed, plan.flavour.reduction, name=PLANS)
    runner.commands.append(_reduction_command(plan))


def _reduction_command(plan: Plan) -> str:
    small = plan.flavour.reduction
    patch = " ".join(map(str, small.patch_size or ()))
    features = " ".join(map(str, small.features))
    return (
        f"python -m tools.reduced_plans {plan.preprocessed} --name {PLANS} --features {features} "
        f"--convolutions {small.convolutions} --patch {patch} --batch {small.batch_size}"
    )


def train(plan: Plan, runner: Runner, trainer: str) -> None:
    """Train a model with the stock command, without a GPU."""
    runner.run(
        "nnUNetv2_train", plan.dataset_id, plan.flavour.configuration, 0, "-tr", trainer,
        "-p", PLANS, "-device", "cpu",
        log=f"train {trainer}", limit=TRAINING_LIMIT,
    )  # fmt: skip


def export(plan: Plan, runner: Runner, trainer: str) -> None:
    """Export the trained model to a bundle."""
    runner.run(
        "nnunet-losses", "export", plan.model_folder(trainer), plan.bundle(trainer), "--folds", 0,
        log=f"export {trainer}", limit=600,
    )  # fmt: skip


def verify(plan: Plan, runner: Runner, trainer: str) -> Parity:
    """Compare the bundle with nnU-Net's own predictor on all test cases; a failed comparison is a result."""
    runner.run(
        "nnunet-losses", "verify", plan.bundle(trainer), plan.model_folder(trainer), plan.raw / "imagesTs",
        log=f"verify {trainer}", limit=900, allowed=(0, 1),
    )  # fmt: skip
    return Parity.model_validate(describe(plan, trainer)["parity"])


def describe(plan: Plan, trainer: str) -> dict[str, Any]:
    """Return the bundle's own description."""
    content: dict[str, Any] = json.loads((plan.bundle(trainer) / "model.json").read_text("utf-8"))
    return content


def predict(plan: Plan, runner: Runner, trainer: str) -> None:
    """Answer all test cases without PyTorch."""
    runner.run(
        "nnunet-losses", "predict", plan.bundle(trainer), plan.raw / "imagesTs",
        "--output", plan.predictions(trainer),
        log=f"predict {trainer}", limit=600,
    )  # fmt: skip
