"""The rows that stages exchange as files, the criteria of a rubric, and the spellings of votes.

Everything that is written to or read from a data file has its type here.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
