from .memory_plan import PlannedMemory, memory_table, plan_memory
from .report import TrainReport
from .stage import train_named, train_round

__all__ = ["PlannedMemory", "TrainReport", "memory_table", "plan_memory", "train_named", "train_round"]
