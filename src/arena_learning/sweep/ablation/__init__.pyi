from .arms import Arm, Factor, ablation_arms
from .mlflow_runs import log_ablation
from .run import run_ablation
from .text import ablation_text

__all__ = ["Arm", "Factor", "ablation_arms", "ablation_text", "log_ablation", "run_ablation"]
