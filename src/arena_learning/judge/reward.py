"""A reward model as the judge: a sequence-classification model with one output, mapped to scores from 1 to 10.

Each response is scored by itself, so that the order of a presentation changes nothing. score = 1 + 9 s((r - c) / w),
s the logistic function: rising in the reward r; centre c and width w come from labelled pairs (`calibrate`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from arena_learning.engines.chat import Chat
from arena_learning.engines.weights import weights_digest
from arena_learning.errors import ArenaError
from arena_learning.judge.base import Presentation, Verdict
from arena_learning.rows import Instruction, Response, Turn

VERSION = "1"
_KEPT = 50_000  # rewards in memory
_WIDEST = 50.0  # beyond this the logistic function is 0 or 1 in a float anyway


class Calibration(NamedTuple):
    """The map from rewards to scores: ``center`` scores 5.5, ``scale`` is the width of the rise."""

    center: float = 0.0
    scale: float = 1.0

    def score(self, reward: float) -> float:
        """Return the score of a reward, in hundredths."""
        z = min(_WIDEST, max(-_WIDEST, (reward - self.center) / self.scale))
        return round(1 + 9 / (1 + exp(-z)), 2)


def calibrate(rewards: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Calibration:
    """Fit the map to labelled pairs.

    Args:
        rewards: (pairs, 2), of a and b.
        labels: (pairs,): 1 where a won, 0 where b won, 0.5 for a tie.

    Returns:
        Center: the mean reward. Scale: by maximum likelihood of P(a wins) = s((r_a - r_b) / scale), between a
        hundredth and a hundred times the differences' spread, so that separable pairs have an answer too.
    """
    gaps = rewards[:, 0] - rewards[:, 1]
    spread = float(np.std(gaps)) or 1.0
    scales = spread * np.geomspace(0.01, 100, 801)
    z = gaps[None, :] / scales[:, None]
    likelihood = -(np.logaddexp(0, -z) * labels + np.logaddexp(0, z) * (1 - labels)).sum(axis=1)
    return Calibration(float(rewards.mean()), float(scales[int(likelihood.argmax())]))


class RewardJudge:
    """Scores each response by a reward model.

    Args:
        folder: safetensors of a sequence-classification model with one label, and its chat tokenizer.
        calibration: the map to scores.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: presentations at once.

    Raises:
        ArenaError: no such folder, or the model has no single output.
    """

    def __init__(
        self, folder: Path, calibration: Calibration, *, device: str = "auto", batch_size: int = 8
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        self._chat = Chat(folder)
        self._calibration, self.batch_size = calibration, batch_size
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        try:
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                str(folder), dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise ArenaError(
                f"cannot load the reward model: {str(error).splitlines()[0]}", where=str(folder)
            ) from error
        if model.config.num_labels != 1:
            raise ArenaError(
                f"the model has {model.config.num_labels} outputs, and a reward is one number",
                where=str(folder),
                mend="give a reward model, such as a ppo round's models/ROUND/reward_model",
            )
        self._model = model.to(self._device).eval()
        self._rewards: dict[bytes, float] = {}
        digest = weights_digest(folder)
        self.label = f"reward {digest[:8]} v{VERSION}"
        self.fingerprint = {
            "judge": f"reward v{VERSION}",
            "weights": digest,
            "chat_template": self._chat.digest,
            "calibration": f"{calibration.center!r} {calibration.scale!r}",
        }

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; what does not fit the model's context is unscored."""
        verdicts = []
        for instruction, first, second in presentations:
            start = time.perf_counter()
            rows = [self._encode(instruction, response) for response in (first, second)]
            tokens = sum(map(len, rows))
            if max(map(len, rows)) > self._chat.context:
                verdicts.append(Verdict(None, None, "", unscored="longer than the reward model's context"))
                continue
            rewards = [self._reward(row) for row in rows]
            one, two = (self._calibration.score(reward) for reward in rewards)
            why = f"Reward: first {rewards[0]:.3f}, second {rewards[1]:.3f}"
            verdicts.append(Verdict(one, two, why, tokens=tokens, seconds=time.perf_counter() - start))
        return verdicts

    def reward(self, instruction: Instruction, response: Response) -> float:
        """Return the model's own number for a response."""
        return self._reward(self._encode(instruction, response))

    def close(self) -> None:
        """Give back the memory."""
        self._model = None

    def _encode(self, instruction: Instruction, response: Response) -> list[int]:
        """Return the conversation with the answer and its end of turn, as reward models are trained on it."""
        prompt = self._chat.render(instruction.turns)
        whole = self._chat.render_whole([*instruction.turns, Turn(role="assistant", content=response.text)])
        tokenizer = self._chat.tokenizer
        ids: list[int] = tokenizer(whole, add_special_tokens=False)["input_ids"]
        if not whole.startswith(prompt):
            return ids
        ends = [n for n, token in enumerate(ids) if token in self._chat.stop_ids]
        return ids[: ends[-1] + 1] if ends else ids

    def _reward(self, ids: list[int]) -> float:
        """Run one row: alone it needs no padding, which several architectures take for a part of the text.

        An answer meets many others in both orders: its reward is kept.
        """
        import torch

        key = hashlib.sha256(repr(ids).encode()).digest()
        if key in self._rewards:
            return self._rewards[key]
        if len(self._rewards) >= _KEPT:
            self._rewards.clear()
        # The head reads the last token that is no padding: with pad and end of turn the same, that would be another.
        self._model.config.pad_token_id = next(i for i in range(len(ids) + 1) if i != ids[-1])
        row = torch.tensor([ids], device=self._device)
        with torch.inference_mode():
            reward = float(self._model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, 0])
        self._rewards[key] = reward
        return reward
