from .stage import make_dataset, read_samples, rules_of, select_rows

__all__ = ["make_dataset", "read_samples", "rules_of", "select_rows"]
