from .report import TrainReport
from .stage import train_named, train_round

__all__ = ["TrainReport", "train_named", "train_round"]
