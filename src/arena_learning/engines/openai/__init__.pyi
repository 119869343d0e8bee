from .engine import OpenAi

__all__ = ["OpenAi"]
