from .store import Store, store_key
from .vectors import VectorStore
from .work_queue import lease_work

__all__ = ["Store", "VectorStore", "lease_work", "store_key"]
