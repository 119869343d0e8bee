"""PPO's arithmetic against numbers derived by hand."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.torch


@pytest.fixture
def close():
    import torch

    def compare(found, wanted):
        torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-6, atol=1e-6)

    return compare


def test_masks_give_an_ended_response_one_state_more(close):
    import torch

    from arena_learning.train.ppo.objective import masks

    found = masks(torch.tensor([1, 3]), torch.tensor([True, False]), width=3)
    assert found.actions.tolist() == [[True, False, False], [True, True, True]]
    assert found.states.tolist() == [[True, True, False, False], [True, True, True, False]]


def test_rewards_are_the_divergence_and_the_score_behind_the_end(close):
    import torch

    from arena_learning.train.ppo.objective import token_rewards

    log_probs = torch.tensor([[-1.0, -2.0, float("-inf")], [-1.0, -1.0, -3.0]])  # -inf: no token is there
    reference = torch.tensor([[-1.5, -1.0, float("-inf")], [-1.0, -2.0, -1.0]])
    lengths, ended = torch.tensor([2, 3]), torch.tensor([True, False])
    rewards, divergence = token_rewards(
        log_probs, reference, torch.tensor([5.0, 7.0]), lengths, ended, kl=0.1
    )
    # log-ratios 0.5, -1 and 0, 1, -2. The first response's score stands behind its end, the second's at its last token.
    close(rewards, [[-0.05, 0.1, 5.0, 0.0], [0.0, -0.1, 0.2 + 7.0, 0.0]])
    close(divergence, [-0.5, -1.0])


def test_advantages_of_three_states(close):
    import torch

    from arena_learning.train.ppo.objective import estimate_advantages

    rewards, values = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 4.0]])
    # With discount 0.5 the errors are 1 + 0.5 - 0.5 = 1, 0 + 2 - 1 = 1, 2 + 0 - 4 = -2.
    # With decay 0.5 (0.25 a step): -2; 1 - 0.5 = 0.5; 1 + 0.125 = 1.125.
    close(estimate_advantages(rewards, values, discount=0.5, decay=0.5), [[1.125, 0.5, -2.0]])
    # With both 1: all the rewards that follow, less the value.
    close(estimate_advantages(rewards, values, discount=1.0, decay=1.0), [[2.5, 1.0, -2.0]])


def test_whitened_values_have_mean_0_and_variance_1_over_what_is_real(close):
    import torch

    from arena_learning.train.ppo.objective import whiten

    mask = torch.tensor([[True, True], [True, False]])
    # mean 2; unbiased variance (1 + 0 + 1) / 2 = 1
    close(whiten(torch.tensor([[1.0, 2.0], [3.0, 100.0]]), mask), [[-1.0, 0.0], [1.0, 0.0]])
    only = torch.tensor([[True, False], [False, False]])
    close(whiten(torch.tensor([[5.0, 1.0], [1.0, 1.0]]), only), [[0.0, 0.0], [0.0, 0.0]])  # TRL: not a number


def test_whitening_sums_over_processes(close):
    """Two processes that hold half the values each get what one gets that holds all."""
    import torch

    from arena_learning.train.ppo.objective import whiten

    halves = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    sums = iter([torch.tensor([4.0, 12.0]), torch.tensor(14.0)])  # mean 3; squares 4 + 1 + 0 + 9
    found = whiten(halves[:1], mask, lambda _: next(sums))
    close(found, whiten(halves, torch.ones(2, 2, dtype=torch.bool))[:1].tolist())


def test_a_ratio_outside_of_the_clip_gains_nothing_and_has_no_gradient(close):
    import torch

    from arena_learning.train.ppo.objective import policy_loss

    new = torch.log(torch.tensor([[1.5, 0.5, 1.5, 0.5, 1.1]])).requires_grad_()
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, 2.0]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    found = policy_loss(new, torch.zeros(1, 5), advantages, mask, tokens=5)
    # Gains are cut at 1.2 and 0.8; what is lost counts in full: -1.2, -0.5, +1.5, +0.8, -2.2.
    close(found.loss.detach(), (-1.2 - 0.5 + 1.5 + 0.8 - 2.2) / 5)
    found.loss.backward()
    close(new.grad, [[0.0, -0.5 / 5, 1.5 / 5, 0.0, -2.2 / 5]])
    close(found.clipped, 2 / 5)
    close(found.ratio, (1.5 + 0.5 + 1.5 + 0.5 + 1.1) / 5)
    squares = 2 * math.log(1.5) ** 2 + 2 * math.log(0.5) ** 2 + math.log(1.1) ** 2
    close(found.change, 0.5 * squares / 5)


def test_padding_has_no_share_in_the_policys_loss(close):
    import torch

    from arena_learning.train.ppo.objective import policy_loss

    new = torch.tensor([[0.0, float("-inf")]], requires_grad=True)
    old, advantages = torch.tensor([[0.0, float("-inf")]]), torch.tensor([[3.0, 0.0]])
    found = policy_loss(new, old, advantages, torch.tensor([[True, False]]), tokens=1)
    close(found.loss.detach(), -3.0)
    found.loss.backward()
    close(new.grad, [[-3.0, 0.0]])


def test_a_value_that_moves_further_than_the_clip_is_not_rewarded(close):
    import torch

    from arena_learning.train.ppo.objective import value_loss

    new = torch.tensor([[1.0, 0.1, 1.0, 9.0]], requires_grad=True)
    old, returns = torch.zeros(1, 4), torch.tensor([[2.0, 2.0, -1.0, 0.0]])
    mask = torch.tensor([[True, True, True, False]])
    found = value_loss(new, old, returns, mask, states=3)
    # Clipped to 0.2, 0.1, 0.2. Errors 1 or 1.8, 1.9 or 1.9, 2 or 1.2: the larger of each counts, half its square.
    close(found.loss.detach(), 0.5 * (1.8**2 + 1.9**2 + 2.0**2) / 3)
    close(found.clipped, 1 / 3)
    found.loss.backward()
    close(new.grad, [[0.0, -1.9 / 3, 2.0 / 3, 0.0]])
