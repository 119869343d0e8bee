"""A round's rows become the next target: SFT, DPO, or a reward model and PPO.

Importing the room loads neither torch nor TRL.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
