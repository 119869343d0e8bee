from .store import Store, store_key
from .work_queue import lease_work

__all__ = ["Store", "lease_work", "store_key"]
