"""Names and configurations: one name for each configuration, nothing else."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.spec import Choice, Flag, LossSpec, Number, Parameter
from nnunet_losses.trainers.names import (
    DEFAULT_EPOCHS,
    PREFIX,
    Configuration,
    TrainerNameError,
    default_names,
    format_name,
    parse,
)
from nnunet_losses.trainers.nearest import nearest_name, resembles_ours
from nnunet_losses.trainers.spelling import read_number, read_parameter, spell, squash
from nnunet_losses.trainers.variants import VARIANTS, variant_class

STEADY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def values(field: Parameter) -> st.SearchStrategy[Any]:
    """Values of a parameter that a name can hold."""
    if isinstance(field, Flag):
        return st.booleans()
    if isinstance(field, Choice):
        return st.sampled_from(field.values)
    assert isinstance(field, Number), f"teach this test what {field} takes"
    high = None if math.isinf(field.high) else field.high
    if field.whole:
        return st.integers(min_value=math.ceil(field.low), max_value=10**6 if high is None else int(high))
    numbers = st.floats(field.low, high, allow_infinity=False, exclude_min=not field.closed)
    return numbers | numbers.map(lambda number: float(f"{number:.2g}")).filter(
        lambda number: field.low < number <= field.high and math.isfinite(number)
    )


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    spec = get_loss_spec(draw(st.sampled_from(list_losses())))
    chosen = [field for field in spec.trainer_fields if field.nameable and draw(st.booleans())]
    return Configuration(
        spec.key,
        {field.name: draw(values(field)) for field in chosen},
        draw(st.none() | st.sampled_from(list(VARIANTS))),
        draw(st.just(DEFAULT_EPOCHS) | st.integers(1, 10**6)),
    )


def meaning(configuration: Configuration) -> tuple[Any, ...]:
    settings = [configuration.settings(batch_dice=batch_dice) for batch_dice in (True, False)]
    return configuration.loss, settings, configuration.warmup, configuration.variant, configuration.epochs


@STEADY
@given(configurations())
def test_round_trip(configuration: Configuration) -> None:
    name = format_name(configuration)
    assert name.isidentifier()
    assert meaning(parse(name)) == meaning(configuration)
    assert format_name(parse(name)) == name


@STEADY
@given(configurations(), st.data())
def test_no_other_spelling_is_accepted(configuration: Configuration, data: st.DataObject) -> None:
    """Swap, double or drop parts: what still parses means something else, and is spelled as it should be."""
    head, *parts = format_name(configuration).split("_")
    changed = data.draw(st.lists(st.sampled_from(parts), max_size=4)) if parts else [""]
    name = "_".join([head, *changed])
    try:
        read = parse(name)
    except TrainerNameError:
        return
    assert format_name(read) == name


@STEADY
@given(st.text(alphabet="aefmpIBCDx019_", max_size=12))
def test_any_tail_is_refused_or_canonical(tail: str) -> None:
    name = f"{PREFIX}Dice_{tail}"
    try:
        valid = format_name(parse(name))
    except TrainerNameError:
        valid = nearest_name(name) or "none"
        assert (valid != name, resembles_ours(name)) == (True, True)
    else:
        assert valid == name
    assert format_name(parse(valid)) == valid


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nnUNetTrainerTversky_fp0p2_250epochs", Configuration("tversky", {"fp": 0.2}, None, 250)),
        ("nnUNetTrainerDiceTopK_NoMirroring_100epochs", Configuration("dice_topk", {}, "NoMirroring", 100)),
        ("nnUNetTrainerDice", Configuration("dice")),
        ("nnUNetTrainerDiceCE", Configuration("dice_ce")),
        ("nnUNetTrainerDiceCE_wdice0p8", Configuration("dice_ce", {"w_dice": 0.8})),
        ("nnUNetTrainerDice_smooth1em7", Configuration("dice", {"smooth": 1e-7})),
        ("nnUNetTrainerDice_phiI_squaredtrue", Configuration("dice", {"phi": "I", "squared": True})),
        ("nnUNetTrainerDice_smooth0", Configuration("dice", {"smooth": 0.0})),
        ("nnUNetTrainerFocal_gamma3", Configuration("focal", {"gamma": 3.0})),
        ("nnUNetTrainerIoU_onlyMirror01_DASegOrd0", Configuration("iou", {}, "onlyMirror01_DASegOrd0")),
        ("nnUNetTrainerIoU_DA5_10epochs", Configuration("iou", {}, "DA5", 10)),
        ("nnUNetTrainerLovasz_warmup0p3", Configuration("lovasz", {"warmup": 0.3})),
        (
            "nnUNetTrainerLovasz_classesall_warmup0_DA5_100epochs",
            Configuration("lovasz", {"classes": "all", "warmup": 0.0}, "DA5", 100),
        ),
        ("nnUNetTrainerHausdorffER_warmup1_5epochs", Configuration("hausdorff_er", {"warmup": 1.0}, None, 5)),
        ("nnUNetTrainerBoundary_warmup0p25_warmup", Configuration("boundary", {"warmup": 0.25}, "warmup")),
        ("nnUNetTrainerBoundary_warmup", Configuration("boundary", {}, "warmup")),
        ("nnUNetTrainerCATMIL_warmup20", Configuration("cat_mil", {"warmup": 20})),
    ],
)  # fmt: skip
def test_examples(name: str, expected: Configuration) -> None:
    assert parse(name) == expected
    assert format_name(expected) == name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("nnUNetTrainerDice_1000epochs", "nnUNetTrainerDice"),  # a default
        ("nnUNetTrainerTversky_fn0p8_fp0p2", "nnUNetTrainerTversky_fp0p2_fn0p8"),  # order
        ("nnUNetTrainerTversky_fp0p3", "nnUNetTrainerTversky"),
        ("nnUNetTrainerTversky_fp0p20", "nnUNetTrainerTversky_fp0p2"),
        ("nnUNetTrainerTversky_fp0.2", "nnUNetTrainerTversky_fp0p2"),
        ("nnUNetTrainerTversky_fp2em1", "nnUNetTrainerTversky_fp0p2"),
        ("nnUNetTrainerDice_smooth1e-7", "nnUNetTrainerDice_smooth1em7"),
        ("nnUNetTrainerDice_smooth1em07", "nnUNetTrainerDice_smooth1em7"),
        ("nnUNetTrainerDice_squaredTrue", "nnUNetTrainerDice_squaredtrue"),
        ("nnUNetTrainerDice_squaredfalse", "nnUNetTrainerDice"),
        ("nnUNetTrainerDiceCE_w_dice0p8", "nnUNetTrainerDiceCE_wdice0p8"),
        ("nnUNetTrainerDice_250epochs_NoMirroring", "nnUNetTrainerDice_NoMirroring_250epochs"),
        ("nnUNetTrainerDice_1epoch", "nnUNetTrainerDice_1epochs"),
        ("nnUNetTrainerDice_0epochs", "nnUNetTrainerDice"),
        ("nnUNetTrainerDice_007epochs", "nnUNetTrainerDice_7epochs"),
        ("nnUNetTrainerDice_nomirroring", "nnUNetTrainerDice_NoMirroring"),
        ("nnUNetTrainerDice_", "nnUNetTrainerDice"),
        ("nnUNetTrainerdicetopk", "nnUNetTrainerDiceTopK"),
        ("nnUNetTrainer_Dice", "nnUNetTrainerDice"),
        ("nnUNetTrainerTverksy", "nnUNetTrainerTversky"),
        ("nnUNetTrainerTopK_k2", "nnUNetTrainerTopK"),  # k is at most 1
        ("nnUNetTrainerLovasz_warmup0p5", "nnUNetTrainerLovasz"),  # a default
        ("nnUNetTrainerLovasz_warmup0.3", "nnUNetTrainerLovasz_warmup0p3"),
        ("nnUNetTrainerLovasz_warmup0p3_classesall", "nnUNetTrainerLovasz_classesall_warmup0p3"),
        ("nnUNetTrainerLovasz_warmup1p5", "nnUNetTrainerLovasz"),  # a share is at most 1
        ("nnUNetTrainerDiceBoundary_warmup0p3", "nnUNetTrainerDiceBoundary"),  # trains from scratch
        ("nnUNetTrainerDiceIEps_smooth5", "nnUNetTrainerDiceIEps"),  # a list: comes from the data
        ("nnUNetTrainerDice_fp0p2", "nnUNetTrainerDice"),  # another loss's parameter
        ("nnUNetTrainerWCE_classweights2", "nnUNetTrainerWCE"),  # a list: comes from the data
    ],
)
def test_nearly_right_names_are_refused_with_the_right_one(name: str, nearest: str) -> None:
    with pytest.raises(TrainerNameError, match=f"The nearest valid name is {nearest}\\.") as caught:
        parse(name)
    assert caught.value.resembles


@pytest.mark.parametrize(
    "name", ["nnUNetTrainer", "", "Dice", "nnUNetTrainerMyIdea", "nnUNetTrainer_250epochs", "__path__"]
)
def test_foreign_names_are_refused_without_a_suggestion(name: str) -> None:
    with pytest.raises(TrainerNameError) as caught:
        parse(name)
    assert (caught.value.resembles, caught.value.nearest) == (False, None)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (Configuration("dyce"), "there is no loss 'dyce'"),
        (Configuration("dice", {"smooth": math.nan}), "smooth=nan"),
        (Configuration("focal", {"alpha": [0.2, 0.8]}), "cannot be written into a trainer's name"),
        (Configuration("dice", variant="DA6"), "no trainer variant 'DA6'"),
        (Configuration("dice", epochs=0), "epochs=0 is not valid"),
        (Configuration("dice", epochs=True), "epochs=True is not valid"),
        (Configuration("dice", epochs=2.5), "epochs=2.5 is not valid"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_has_no_name_is_refused(configuration: Configuration, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        format_name(configuration)


def test_parameters_that_a_loss_has_not_are_refused() -> None:
    with pytest.raises(TypeError, match="no parameter 'fq'"):
        format_name(Configuration("tversky", {"fq": 0.2}))


@STEADY
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_numbers_of_either_sign_survive(number: float) -> None:
    text = spell(number)
    assert text.isalnum()
    assert read_number(text) == number
    assert spell(read_number(text)) == text


def test_words_lose_and_regain_their_underscores() -> None:
    schedule = Choice("schedule", "rebalance", "", values=("rebalance", "rebalance_relative", "constant"))
    low = Number("shift", 0.0, "", low=-math.inf)
    spec = LossSpec("example", "Example", "", "", "", "", "", fields=(schedule, low))
    assert spell("rebalance_relative") == "rebalancerelative"
    assert list(read_parameter("schedulerebalancerelative", spec)) == [("schedule", "rebalance_relative")]
    assert list(read_parameter("shiftm2p5", spec)) == [("shift", -2.5)]


def test_no_value_of_one_parameter_reads_as_another() -> None:
    """Among the parameters of a loss: that is what makes a segment unambiguous."""
    for key in list_losses():
        names = [squash(field.name) for field in get_loss_spec(key).trainer_fields]
        assert len(set(names)) == len(names)
        for field in get_loss_spec(key).trainer_fields:
            words = (
                field.values
                if isinstance(field, Choice)
                else ("true", "false")
                if isinstance(field, Flag)
                else ("0p5",)
            )
            for word in words:
                readings = dict(read_parameter(squash(field.name) + squash(word), get_loss_spec(key)))
                assert len(readings) <= 1, (key, field.name, readings)


# --- nnU-Net's own trainers ---


def shipped_classes() -> dict[str, list[str]]:
    """Classes that nnU-Net's trainer modules define, read without importing them."""
    spec = find_spec("nnunetv2.training.nnUNetTrainer")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (root,) = spec.submodule_search_locations
    return {
        str(path.relative_to(root)): [
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
        ]
        for path in Path(root).rglob("*.py")
    }


def test_nnunets_own_trainers_stay_nnunets() -> None:
    names = [name for classes in shipped_classes().values() for name in classes]
    assert len(names) > 60
    for name in names:
        assert not resembles_ours(name), name
        assert nearest_name(name) is None
        with pytest.raises(TrainerNameError):
            parse(name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_classes_of_nnunet(variant: str) -> None:
    assert variant_class(variant).__name__ in (f"{PREFIX}{variant}", f"{PREFIX}_{variant}")


def test_table_of_variants_is_complete() -> None:
    """A variant that nnU-Net adds shows up here: it belongs into the table, or among those left out."""
    left_out = ("loss", "training_length", "benchmarking")
    names = {
        name.removeprefix(PREFIX).removeprefix("_")
        for path, classes in shipped_classes().items()
        if path.startswith("variants") and Path(path).parts[1] not in left_out
        for name in classes
    }
    assert names - {"DA5_10epochs", "onlyMirror01_1500ep"} == set(VARIANTS)


def test_parsing_is_light() -> None:
    code = (
        "import sys; from nnunet_losses.trainers.names import parse; parse('nnUNetTrainerDice_NoMirroring');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'nnunetv2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_one_to_one() -> None:
    assert len(set(default_names())) == len(list_losses())
    assert [parse(name).loss for name in default_names()] == list_losses()
