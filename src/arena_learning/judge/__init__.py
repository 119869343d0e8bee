"""Judges: they score the two answers of a game, and games merge into battles.

A new judge is one file that implements `Judge`, its name in `params` and a line in `build`; test it with
`arena_learning.testing`.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
