"""Ratings of contestants from battles, usable alone: `rate`, `online_elo`, `rate_with_style`.

It needs no project, and loads NumPy and SciPy only.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
