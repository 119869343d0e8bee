"""Which battles become training rows, and the data card that accounts for every instruction.

The rules are those of the paper, sections 3 and 4.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
