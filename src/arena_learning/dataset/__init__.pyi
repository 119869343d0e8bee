from .rows import select_rows
from .stage import make_dataset, read_samples, rules_of, sources_of

__all__ = ["make_dataset", "read_samples", "rules_of", "select_rows", "sources_of"]
