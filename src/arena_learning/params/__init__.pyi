from .contestants import (
    BattleParams,
    LocalModel,
    Opponent,
    Ray,
    Sampling,
    Serving,
    VllmModel,
    VllmServing,
    Weights,
)
from .costs import Budget, Price
from .endpoint import OMITTABLE, Endpoint
from .gate import ExternalScores, Gate
from .judging import JudgeParams, Judging
from .launch import Footprint, Launch
from .load import load_params, parse_params
from .names import suggested
from .pool import Filters, Pool
from .rounds import BASE, check_round_name, check_rounds, shared_criteria
from .section import NONE, SPLITS, Name, Positive, Rate, Section
from .training import (
    LATER,
    WINNER,
    Dataset,
    Dpo,
    Grpo,
    Optimiser,
    Ppo,
    Rft,
    Rl,
    Rloo,
    Sft,
    Strategy,
    Train,
    without_later,
)
from .whole import Evaluate, Independence, Params, Round

__all__ = [
    "BASE",
    "LATER",
    "NONE",
    "OMITTABLE",
    "SPLITS",
    "WINNER",
    "BattleParams",
    "Budget",
    "Dataset",
    "Dpo",
    "Endpoint",
    "Evaluate",
    "ExternalScores",
    "Filters",
    "Footprint",
    "Gate",
    "Grpo",
    "Independence",
    "JudgeParams",
    "Judging",
    "Launch",
    "LocalModel",
    "Name",
    "Opponent",
    "Optimiser",
    "Params",
    "Pool",
    "Positive",
    "Ppo",
    "Price",
    "Rate",
    "Ray",
    "Rft",
    "Rl",
    "Rloo",
    "Round",
    "Sampling",
    "Section",
    "Serving",
    "Sft",
    "Strategy",
    "Train",
    "VllmModel",
    "VllmServing",
    "Weights",
    "check_round_name",
    "check_rounds",
    "load_params",
    "parse_params",
    "shared_criteria",
    "suggested",
    "without_later",
]
