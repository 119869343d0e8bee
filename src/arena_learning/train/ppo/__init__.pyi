from .run import train_ppo

__all__ = ["train_ppo"]
