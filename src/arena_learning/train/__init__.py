"""Training: a round's rows become the next target, with TRL.

`train_round` is the whole room: it reads the rows, checks the chat template, trains (SFT, DPO, or a reward
model and then PPO; all weights or LoRA), and writes the model with a report. Importing this package loads
neither torch nor TRL.
"""

from __future__ import annotations

from arena_learning.train.files import train_round
from arena_learning.train.report import TrainReport

__all__ = ["TrainReport", "train_round"]
