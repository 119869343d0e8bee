"""Select the battles that become training rows, and account for every instruction in a data card.

The rules are those of the paper, sections 3 and 4.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
