from .batch_engine import BatchOpenAi
from .engine import OpenAi

__all__ = ["BatchOpenAi", "OpenAi"]
