from .stage import make_dataset, rules_of, select_rows

__all__ = ["make_dataset", "rules_of", "select_rows"]
