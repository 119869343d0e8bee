"""Search for hyper-parameters with Optuna: studies, search spaces, statistics, figures.

The two kinds of sweep are `sweep.judge` and `sweep.selection`.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
