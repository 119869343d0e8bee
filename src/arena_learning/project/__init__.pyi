from .check_data import check_disjoint, check_enough
from .clean import REMADE, free_disk, plan_cleaning
from .disk import disk_text, disk_usage
from .doctor import examine
from .inputs import write_inputs
from .new_rounds import add_rounds, write_added
from .plan import DVC, plan_run, plan_text
from .profile import choose_serving, has_cuda, write_params
from .prune import find_stale, remove_stale

__all__ = [
    "DVC",
    "REMADE",
    "add_rounds",
    "check_disjoint",
    "check_enough",
    "choose_serving",
    "disk_text",
    "disk_usage",
    "examine",
    "find_stale",
    "free_disk",
    "has_cuda",
    "plan_cleaning",
    "plan_run",
    "plan_text",
    "remove_stale",
    "write_added",
    "write_inputs",
    "write_params",
]
