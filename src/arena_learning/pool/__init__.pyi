from .embeddings import Embedder, shared_embedder
from .prepare import HELD_OUT, prepare_pool
from .read import RecordedAnswer, read_pool, read_recorded
from .split import draw, seeded_rank

__all__ = [
    "HELD_OUT",
    "Embedder",
    "RecordedAnswer",
    "draw",
    "prepare_pool",
    "read_pool",
    "read_recorded",
    "seeded_rank",
    "shared_embedder",
]
