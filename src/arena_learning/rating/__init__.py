"""Ratings of contestants from battles, usable alone: `rate`, `online_elo`, `rate_with_style`.

It needs no project, and loads NumPy and SciPy only.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
