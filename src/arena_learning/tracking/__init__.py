"""MLflow as a view of the files: runs made from them, left alone when equal, replaced when not.

It can be rebuilt from the files at any time.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
