from .arguments import EMULATED, choose_device, choose_precision, computes_bf16
from .memory_plan import PlannedMemory, memory_table, plan_memory
from .report import TrainReport
from .stage import train_named, train_round

__all__ = [
    "EMULATED",
    "PlannedMemory",
    "TrainReport",
    "choose_device",
    "choose_precision",
    "computes_bf16",
    "memory_table",
    "plan_memory",
    "train_named",
    "train_round",
]
