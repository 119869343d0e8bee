"""Train a round's rows into the next model: by SFT, by DPO, or by a reward model and PPO.

Importing this package loads neither torch nor TRL.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
