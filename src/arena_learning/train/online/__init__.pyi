from .group_judge import RewardInputs
from .rewards import open_rewards
from .trainer import train_online

__all__ = ["RewardInputs", "open_rewards", "train_online"]
