"""The store of answers and verdicts: each is saved under a hash of everything that could change it.

Several processes can share one store without requesting anything twice.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
