"""The memory of answers and verdicts, by a hash of all that could change them.

Several processes share one store and ask for nothing twice.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
