from .engine import Vllm

__all__ = ["Vllm"]
