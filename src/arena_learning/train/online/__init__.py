"""RLOO and GRPO: a judge's verdicts on newly sampled answers are the reward.

The room samples by TRL's trainers and judges every sample through the store; a second judge is monitored.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
