"""Ablations of a round: arms that differ in one choice, each trained and measured on the validation set.

Every difference comes with its interval, a p value for all comparisons, and how many instructions would tell it.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
