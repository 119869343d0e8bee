"""The rows that flow between stages, the criteria of a rubric, and how votes are spelt.

What is written to a file or read from one has its type here.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
