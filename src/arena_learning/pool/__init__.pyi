from .clusters import cluster_instructions
from .embeddings import Embedder, shared_embedder
from .evaluation_sets import RatedDifficulty
from .identity import fingerprint
from .instructions import pool_files, read_pool
from .prepare import HELD_OUT, difficulty_candidates, embed_pool, prepare_pool
from .read import RecordedAnswer, read_answers, read_recorded
from .split import draw, seeded_rank

__all__ = [
    "HELD_OUT",
    "Embedder",
    "RatedDifficulty",
    "RecordedAnswer",
    "cluster_instructions",
    "difficulty_candidates",
    "draw",
    "embed_pool",
    "fingerprint",
    "pool_files",
    "prepare_pool",
    "read_answers",
    "read_pool",
    "read_recorded",
    "seeded_rank",
    "shared_embedder",
]
