"""What sweeps claim holds on simulated judges and scores whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from arena_learning.judge.base import Verdict
from arena_learning.sweep.judge import run as run_judge
from arena_learning.sweep.judge.pruning import LEVEL, clearly_worse
from arena_learning.sweep.judge.run import sweep_judge
from arena_learning.sweep.judge.task import JudgeTask
from arena_learning.sweep.statistics import (
    by_cluster,
    detectable,
    estimate,
    holm,
    needed,
    paired_test,
)

ONE_IS_BETTER = {"t0": 0.60, "t1": 0.55, "t2": 0.60, "t3": 0.65, "t4": 0.80, "t5": 0.60}
ALL_ALIKE = dict.fromkeys(ONE_IS_BETTER, 0.65)


class Simulated:
    """A judge of known accuracy: it names the label's outcome with that probability, the same in both orders."""

    batch_size = 1000

    def __init__(self, name, seed, better, truth):
        self.label = f"simulated {name}"
        self.fingerprint = {"judge": self.label, "seed": str(seed)}
        self._accuracy, self._seed, self._better = truth[name], f"{name} {seed}", better

    def score(self, presentations):
        return [self._verdict(p) for p in presentations]

    def close(self):
        pass

    def _verdict(self, presentation):
        import random

        name = presentation.instruction.id
        right = random.Random(f"{self._seed} {name}").random() < self._accuracy
        first = (presentation.first.contestant == self._better[name]) == right
        return Verdict(8.0 if first else 3.0, 3.0 if first else 8.0, "")


def write_labels(path, count):
    """Pairs without ties; a is the better one of every other pair."""
    lines = [
        {"id": f"p{n}", "instruction": f"Question {n}?", "response_a": f"one {n}", "response_b": f"two {n}"}
        | {"label": "model_a" if n % 2 else "model_b"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def simulated_sweep(files, tmp_path, monkeypatch):
    """Sweep six simulated prompts; they are told apart by the file name of a template."""
    from arena_learning.params import parse_params

    params, paths = files
    raw = params.model_dump(mode="json")
    for name in ONE_IS_BETTER:
        (tmp_path / "clone" / f"{name}.jinja").write_text(f"{name} {{{{ response_a }}}}", encoding="utf-8")
    raw["judges"]["big"] = {"kind": "llm", "engine": "openvino", "model": "none", "template": "t0.jinja"}
    params = parse_params(raw, "test")
    space = {"judges.big.template": [f"{name}.jinja" for name in ONE_IS_BETTER]}

    def run(count, seed, truth):
        file = write_labels(tmp_path / f"labels-{seed}.jsonl", count)
        better = {f"pair-{n:06d}": "a" if n % 2 else "b" for n in range(count)}

        class Task(JudgeTask):
            def _opened(self, params):
                return Simulated(params.judges["big"].template.removesuffix(".jinja"), seed, better, truth)

        monkeypatch.setattr(run_judge, "JudgeTask", Task)
        own = params.model_copy(update={"seed": seed})
        return sweep_judge("big", own, paths, space=space, file=file, trials=6)

    return run


def test_the_best_prompt_is_found_and_its_truth_is_within_the_interval(simulated_sweep):
    report = simulated_sweep(300, 1, ONE_IS_BETTER)
    assert report["winner_params"] == {"judges.big.template": "t4.jinja"}
    confirmed = report["confirmed"][0]["agreement"]
    assert confirmed["lower"] <= ONE_IS_BETTER["t4"] <= confirmed["upper"]
    assert report["against_current"]["p"] < 0.05
    given_up = [t for t in report["trials"] if t["state"] == "pruned"]
    assert all(t["params"] != report["winner_params"] for t in given_up)


def test_the_confirmation_half_takes_the_winners_optimism_away(simulated_sweep):
    """Of six alike prompts the best on 30 pairs is 1.27 standard errors (0.087) too good; on the other half it is not."""
    chosen, confirmed = [], []
    for seed in range(12):
        report = simulated_sweep(60, seed, ALL_ALIKE)
        best = next(t for t in report["trials"] if t["number"] == report["winner"])
        chosen.append(best["values"][0] - 0.65)
        confirmed.append(report["confirmed"][0]["agreement"]["mean"] - 0.65)
        assert report["optimism"] == pytest.approx(chosen[-1] - confirmed[-1])
    error = 0.087 / 12**0.5
    assert np.mean(chosen) == pytest.approx(1.27 * 0.087, abs=3 * error)
    assert np.mean(chosen) > 2 * error
    assert np.mean(confirmed) == pytest.approx(0, abs=3 * error)


def test_optimism_and_its_cure_in_a_large_simulation():
    """Eight equal judges at 0.6, 90 pairs a half: the best is E[max of 8 normals] = 1.42 standard errors too good."""
    rng = np.random.default_rng(0)
    chosen = rng.binomial(90, 0.6, size=(4000, 8)) / 90
    confirmed = rng.binomial(90, 0.6, size=4000) / 90
    error = (0.6 * 0.4 / 90) ** 0.5
    assert chosen.max(axis=1).mean() - 0.6 == pytest.approx(1.42 * error, rel=0.05)
    assert confirmed.mean() - 0.6 == pytest.approx(0, abs=4 * error / 4000**0.5)


@pytest.mark.parametrize("count", [12, 40])
def test_intervals_of_few_instructions_hold_the_truth_as_often_as_they_say(count):
    rng = np.random.default_rng(count)
    held = 0
    for repeat in range(400):
        # Score differences as they come: mostly none, some large.
        drawn = rng.normal(0.3, 2.0, count) * (rng.random(count) < 0.6)
        found = estimate(drawn.tolist(), seed=repeat)
        held += found.lower <= 0.6 * 0.3 <= found.upper
    assert held / 400 == pytest.approx(0.95, abs=0.03)  # 2.7 standard errors


def test_the_paired_test_is_exact_for_wins_and_losses_and_keeps_its_level():
    assert paired_test([1, 1, 1, 1, 1, -1, 0, 0], seed=0) == pytest.approx(2 * (1 + 6) / 2**6)
    assert paired_test([0, 0], seed=0) == 1.0
    assert paired_test([2, 2, 2, -2, -2, -2], seed=0) == 1.0
    rng = np.random.default_rng(5)
    rejected = np.mean([paired_test(rng.normal(0, 1, 20).tolist(), seed=n) < 0.05 for n in range(300)])
    assert rejected == pytest.approx(0.05, abs=0.035)


def test_the_paired_test_goes_through_all_signs_of_few_differences():
    # Of the 8 sums of +-1 +-2 +-3 two are as far from 0 as 6, and all as far as 1 + 2 - 3 = 0.
    assert paired_test([1, 2, 3], seed=0) == 2 / 8
    assert paired_test([1, 2, -3], seed=0) == 1.0
    # 0.1 + 0.2 - 0.3 is 0 but for its last bits, and so are its mirror images.
    assert paired_test([0.1, 0.2, -0.3], seed=0) == 1.0


def test_the_paired_test_of_many_differences_is_that_of_all_their_signs():
    # Sums of 16 whole numbers, by the generating function of their signs: exact where the test draws at random.
    differences = [3, 1, 4, 1, 5, 9, 2, 6, -5, 3, 5, -8, 9, 7, -9, 3]
    sums = {0: 1}
    for d in differences:
        both = [(total + sign * d, ways) for total, ways in sums.items() for sign in (1, -1)]
        sums = {total: sum(w for t, w in both if t == total) for total, _ in both}
    exact = sum(ways for total, ways in sums.items() if abs(total) >= sum(differences)) / 2**16
    assert paired_test(differences, seed=1) == pytest.approx(exact, abs=4 * (exact / 20_000) ** 0.5)


def test_holm_and_clusters():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert by_cluster([1, -1, 1, 0], ["x", "x", "y", "z"]) == [0, 1, 0]


def test_the_detectable_difference_is_detected_as_often_as_it_says():
    # 230 pairs of which 30 % are decided differently: 10 points.
    assert detectable(0.3**0.5, 235) == pytest.approx(0.10, abs=0.001)
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(500):
        apart = rng.random(235) < 0.3
        wins = rng.random(235) < (0.3 + 0.1) / 0.6  # so that wins less losses are 10 points
        found += paired_test(np.where(apart, np.where(wins, 1, -1), 0).tolist(), seed=0) < 0.05
    assert found / 500 == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("level", "quantile", "count"), [(0.05, 1.960, 126), (0.05 / 6, 2.638, 194)])
def test_as_many_instructions_as_are_needed_show_the_difference_as_often_as_it_says(level, quantile, count):
    # ((1.960 + 0.842) 2 / 0.5)^2 = 125.6; with the quantile of a level of 0.05 / 6, 193.7.
    assert needed(2.0, -0.5, level=level) == count
    drawn = np.random.default_rng(4).normal(-0.5, 2.0, (4000, count))
    told = np.abs(drawn.mean(axis=1)) > quantile * 2.0 / count**0.5
    assert told.mean() == pytest.approx(0.8, abs=0.02)  # 3 standard errors
    assert needed(2.0, 0.0) == 0


def test_a_judge_as_good_as_the_best_is_seldom_given_up_over_all_looks():
    rng = np.random.default_rng(9)
    given_up = 0
    for _ in range(600):
        one, two = ((rng.random(90) < 0.6).astype(int).tolist() for _ in range(2))
        best = dict(enumerate(one))
        given_up += any(clearly_worse(dict(enumerate(two[:n])), best, looks=6) for n in range(15, 90, 15))
    assert given_up / 600 <= LEVEL
