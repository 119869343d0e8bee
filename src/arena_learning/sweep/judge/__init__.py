"""Search for a judge's prompt and settings on labelled pairs.

The winner is confirmed on held-out pairs.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
