from .labelled import SIDES, Labelled, read_labelled
from .run import audit_judges, audit_table, flat_figures

__all__ = ["SIDES", "Labelled", "audit_judges", "audit_table", "flat_figures", "read_labelled"]
