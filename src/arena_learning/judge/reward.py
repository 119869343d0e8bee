"""A reward model as the judge: a sequence-classification model with one output, mapped to scores from 1 to 10.

Each response is scored by itself, and only once, so the order of a presentation has no effect. The score is
1 + 9 s((r - c) / w): s is the logistic function, r the reward; centre c and width w are fitted to labelled pairs
(`calibrate`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import exp
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from arena_learning.engines import ChatSettings, weights_digest
from arena_learning.judge.base import Presentation, Scored, Verdict
from arena_learning.judge.point_scores import Answer, PointScores
from arena_learning.judge.reward_model import Dtype, End, RewardModel
from arena_learning.schema import Instruction, Response

VERSION = "1"
_PASSES = 4  # passes of the model in one call: enough answers to group those of similar length
_TOO_LONG = "longer than the reward model's context"
_WIDEST = 50.0  # beyond this the logistic function is 0 or 1 in a float anyway


class Calibration(NamedTuple):
    """The map from rewards to scores: a reward of ``center`` scores 5.5, and ``scale`` is the width of the rise."""

    center: float = 0.0
    scale: float = 1.0

    def score(self, reward: float) -> float:
        """Return the score of a reward, rounded to hundredths.

        Example:
            >>> Calibration(center=-0.3, scale=0.5).score(-0.3)
            5.5
        """
        z = min(_WIDEST, max(-_WIDEST, (reward - self.center) / self.scale))
        return round(1 + 9 / (1 + exp(-z)), 2)


def calibrate(rewards: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Calibration:
    """Fit the map to labelled pairs.

    Args:
        rewards: shape (pairs, 2): the rewards of answers a and b.
        labels: shape (pairs,): 1 if a won, 0 if b won, 0.5 for a tie.

    Returns:
        Center: the mean reward. Scale: the maximum-likelihood estimate in P(a wins) = s((r_a - r_b) / scale), limited
        to 0.01-100 times the standard deviation of the differences, so that it exists for separable pairs too.
    """
    gaps = rewards[:, 0] - rewards[:, 1]
    spread = float(np.std(gaps)) or 1.0
    scales = spread * np.geomspace(0.01, 100, 801)
    z = gaps[None, :] / scales[:, None]
    likelihood = -(np.logaddexp(0, -z) * labels + np.logaddexp(0, z) * (1 - labels)).sum(axis=1)
    return Calibration(float(rewards.mean()), float(scales[int(likelihood.argmax())]))


class RewardJudge:
    """Scores each response by a reward model; see `RewardModel` for how it reads a response.

    Args:
        folder: safetensors and tokenizer of a sequence-classification model with one output.
        calibration: the map from rewards to scores.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: the most answers in one pass of the model.
        dtype: ``auto`` (bf16 on a GPU, fp32 on a CPU), ``fp32``, ``bf16`` or ``f16``.
        end: where an answer ends: at its end-of-turn token (``turn``) or with all that the ``template`` writes.
        trust_remote_code: run code that comes with the folder.
        settings: how the model's chat template is used.
        where: the parameter that an error names.

    Raises:
        ArenaError: no such folder, no GPU although requested, or the model does not have exactly one output.

    Example:
        judge = RewardJudge(Path("models/ppo-i1/reward_model"), Calibration(center=-0.3, scale=0.5))
        judge.score([Presentation(instruction, one, two)])[0].score_first
    """

    pointwise = True

    def __init__(
        self,
        folder: Path,
        calibration: Calibration,
        *,
        device: str = "auto",
        batch_size: int = 8,
        dtype: Dtype = "auto",
        end: End = "turn",
        trust_remote_code: bool = False,
        settings: ChatSettings = ChatSettings(),  # noqa: B008 - frozen
        where: str = "",
    ) -> None:
        self._model = RewardModel(
            folder,
            dtype=dtype,
            device=device,
            rows=batch_size,
            end=end,
            trust_remote_code=trust_remote_code,
            settings=settings,
            where=where,
        )
        self._calibration = calibration
        self.batch_size, self.batch_exact = batch_size * _PASSES, self._model.exact
        self._known = PointScores[_Known]()
        digest, reading = weights_digest(folder), self._model.reading
        others = [reading[field] for field in ("dtype", "end") if field in reading]
        self.label = " ".join([f"reward {digest[:8]} v{VERSION}", *others])
        self.fingerprint = {
            "judge": f"reward v{VERSION}",
            "weights": digest,
            **reading,
            "calibration": f"{calibration.center!r} {calibration.scale!r}",
        }

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; one that is longer than the model's context is unscored."""
        return [verdict for group in self.stream(presentations) for _, verdict in group]

    def stream(self, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
        """Yield verdicts in order, those of `batch_size` presentations at a time; see `base.StreamingJudge`."""
        for start in range(0, len(presentations), self.batch_size):
            places = range(start, min(start + self.batch_size, len(presentations)))
            began = time.perf_counter()
            known = self._know(
                [(p.instruction, r) for i in places for p in [presentations[i]] for r in p[1:]]
            )
            pairs = [(known[2 * n], known[2 * n + 1]) for n in range(len(places))]
            each = (time.perf_counter() - began) / (sum(one.tokens + two.tokens for one, two in pairs) or 1)
            yield [(i, self._verdict(one, two, each)) for i, (one, two) in zip(places, pairs, strict=True)]

    def reward(self, instruction: Instruction, response: Response) -> float:
        """Return the model's reward for a response.

        Raises:
            ValueError: it is longer than the model's context.
        """
        (known,) = self._know([(instruction, response)])
        if known.reward is None:
            raise ValueError(_TOO_LONG)
        return known.reward

    def close(self) -> None:
        """Free the memory."""
        self._model.close()

    def _verdict(self, one: _Known, two: _Known, seconds: float) -> Verdict:
        """Return the verdict on two answers; ``seconds`` is the time per token."""
        tokens = one.tokens + two.tokens
        if one.reward is None or two.reward is None:
            return Verdict(None, None, "", unscored=_TOO_LONG)
        scores = [self._calibration.score(reward) for reward in (one.reward, two.reward)]
        why = f"Reward: first {one.reward:.3f}, second {two.reward:.3f}"
        return Verdict(scores[0], scores[1], why, tokens=tokens, seconds=tokens * seconds)

    def _know(self, answers: Sequence[Answer]) -> list[_Known]:
        """Return the rewards of answers; the model reads each distinct answer once, across calls too."""
        return self._known.of(answers, self._read)

    def _read(self, answers: Sequence[Answer]) -> list[_Known]:
        rows = [self._model.encode(*answer) for answer in answers]
        fit = [place for place, row in enumerate(rows) if len(row.ids) <= self._model.context]
        rewards = dict(zip(fit, self._model.rewards([rows[place] for place in fit]), strict=True))
        return [_Known(rewards.get(place), len(row.ids)) for place, row in enumerate(rows)]


class _Known(NamedTuple):
    """An answer's reward (None if it is too long), and the tokens of conversation and answer."""

    reward: float | None
    tokens: int
