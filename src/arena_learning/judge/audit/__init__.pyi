from .agreement import OUTCOME, OUTCOMES, Table, compare_outcomes, with_interval
from .labelled import SIDES, Labelled, read_labelled
from .run import audit_judges, audit_table, flat_figures

__all__ = [
    "OUTCOME",
    "OUTCOMES",
    "SIDES",
    "Labelled",
    "Table",
    "audit_judges",
    "audit_table",
    "compare_outcomes",
    "flat_figures",
    "read_labelled",
    "with_interval",
]
