"""params.yaml as typed objects: every key that changes an output, its default and its range."""

from __future__ import annotations

from arena_learning.params.contestants import (
    OMITTABLE,
    BattleParams,
    Endpoint,
    LocalModel,
    Opponent,
    Serving,
    Weights,
)
from arena_learning.params.judging import Judge, Judging
from arena_learning.params.load import load_params, parse_params
from arena_learning.params.pool import Filters, Pool
from arena_learning.params.section import NONE, SPLITS, Name, Positive, Rate, Section
from arena_learning.params.training import Dataset, Dpo, Optimiser, Ppo, Sft, Train
from arena_learning.params.vllm import VllmModel, VllmServing
from arena_learning.params.whole import Evaluate, Params, Round

__all__ = [
    "NONE",
    "OMITTABLE",
    "SPLITS",
    "BattleParams",
    "Dataset",
    "Dpo",
    "Endpoint",
    "Evaluate",
    "Filters",
    "Judge",
    "Judging",
    "LocalModel",
    "Name",
    "Opponent",
    "Optimiser",
    "Params",
    "Pool",
    "Positive",
    "Ppo",
    "Rate",
    "Round",
    "Section",
    "Serving",
    "Sft",
    "Train",
    "VllmModel",
    "VllmServing",
    "Weights",
    "load_params",
    "parse_params",
]
