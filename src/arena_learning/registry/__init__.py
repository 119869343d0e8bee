"""Which model ships: the gate, serving, export.

A round's model is compared with the champion by figures that exist already; nothing is generated or judged here.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
