from .run import selection_table, sweep_selection

__all__ = ["selection_table", "sweep_selection"]
