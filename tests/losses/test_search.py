"""A search for shapes, label patterns, masks and logits that break a loss."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunet_losses import get_loss_spec

from .helpers import all_cases

SPACES = st.lists(st.integers(1, 5), min_size=2, max_size=3)
SCALES = st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e3, 1e6, 1e18])


@st.composite
def batches(draw, activation: str):
    batch, space, seed = draw(st.integers(1, 3)), draw(SPACES), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 3, *space, generator=generator) * draw(SCALES)
    used = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    if activation == "softmax":
        target = torch.tensor(used)[torch.randint(0, len(used), (batch, 1, *space), generator=generator)]
    else:
        target = torch.rand(batch, 3, *space, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    share = draw(st.sampled_from([None, 0.0, 0.2, 1.0]))
    mask = None if share is None else torch.rand(batch, 1, *space, generator=generator) < share
    return logits.requires_grad_(), target, mask


@given(data=st.data())
@settings(derandomize=True, max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_batch_breaks_a_loss(data):
    case = data.draw(st.sampled_from(all_cases()), label="case")
    logits, target, mask = data.draw(batches(case.activation), label="batch")
    value = case.create()(logits, target, mask)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    minimum = get_loss_spec(case.key).minimum
    if minimum is not None:
        assert value >= minimum - 1e-6
    if mask is not None:
        assert (logits.grad[(~mask).expand_as(logits)] == 0).all()
        assert mask.any() or value == 0
