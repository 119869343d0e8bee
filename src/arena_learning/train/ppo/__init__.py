"""PPO of our own: objective, updates and checkpoints.

One update equals TRL 1.12's on recorded samples (tests/train/test_train_ppo_oracle.py).
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
