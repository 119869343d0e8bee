"""People's verdicts: the page that asks for them, and agreement.

Battles are shown blind, models' texts as text and never as markup, on this machine alone.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
