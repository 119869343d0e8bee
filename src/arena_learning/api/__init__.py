"""The Python interface, with data frames in and out.

`import arena_learning as al` offers it: `al.battle`, `al.judge_answers`, `al.rate`, `al.load_project`. torch,
pandas and the rest are loaded when a function first needs them.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
