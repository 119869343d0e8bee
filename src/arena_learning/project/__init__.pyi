from .check_data import check_disjoint, check_enough, check_scorable, is_large
from .clean import REMADE, free_disk, plan_cleaning
from .disk import disk_text, disk_usage
from .doctor import examine
from .dvc_health import check_dvc
from .dvc_stages import DVC, changed_dependencies
from .finding import DoctorFinding
from .first_run import FirstRun
from .forecast import forecast_run
from .inputs import write_inputs
from .new_rounds import add_rounds, write_added
from .own_pool import starter_pool
from .plan import plan_run, plan_text
from .plan_record import (
    against_run,
    against_table,
    forecast_dict,
    forecast_notes,
    forecast_table,
    keep_forecast,
)
from .profile import choose_serving, has_cuda
from .prune import find_stale, remove_stale
from .seen import Rates
from .start import Started, renew_pipeline, start_project

__all__ = [
    "DVC",
    "REMADE",
    "DoctorFinding",
    "FirstRun",
    "Rates",
    "Started",
    "add_rounds",
    "against_run",
    "against_table",
    "changed_dependencies",
    "check_disjoint",
    "check_dvc",
    "check_enough",
    "check_scorable",
    "choose_serving",
    "disk_text",
    "disk_usage",
    "examine",
    "find_stale",
    "forecast_dict",
    "forecast_notes",
    "forecast_run",
    "forecast_table",
    "free_disk",
    "has_cuda",
    "is_large",
    "keep_forecast",
    "plan_cleaning",
    "plan_run",
    "plan_text",
    "remove_stale",
    "renew_pipeline",
    "start_project",
    "starter_pool",
    "write_added",
    "write_inputs",
]
