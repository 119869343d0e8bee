"""Engines, which generate the answers of contestants and judges; chat templates; weights.

A new engine is one file, its name in `params` and a line in `build`; it must pass `arena_learning.testing`.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
