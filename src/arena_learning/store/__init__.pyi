from .budget import Longest, Requests, longest_request, within_budget
from .spending import Account, Earlier, Payer, Spending, Spent
from .store import Store, store_key
from .vectors import VectorStore
from .work_queue import lease_work

__all__ = [
    "Account",
    "Earlier",
    "Longest",
    "Payer",
    "Requests",
    "Spending",
    "Spent",
    "Store",
    "VectorStore",
    "lease_work",
    "longest_request",
    "store_key",
    "within_budget",
]
