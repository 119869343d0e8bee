"""Which battles become training rows, and the data card that accounts for every instruction.

The rules are those of the paper, sections 3 and 4.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
