from .budget import Longest, Requests, longest_request, within_budget
from .spending import Account, Earlier, Payer, Spending, Spent
from .store import Store, store_key
from .together import Ended, Together
from .vectors import VectorStore
from .work_queue import lease_work

__all__ = [
    "Account",
    "Earlier",
    "Ended",
    "Longest",
    "Payer",
    "Requests",
    "Spending",
    "Spent",
    "Store",
    "Together",
    "VectorStore",
    "lease_work",
    "longest_request",
    "store_key",
    "within_budget",
]
