from .batch_engine import BatchOpenAi
from .engine import OpenAi
from .errors import error_text, refusal_hint

__all__ = ["BatchOpenAi", "OpenAi", "error_text", "refusal_hint"]
