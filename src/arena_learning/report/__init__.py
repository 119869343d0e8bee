"""What a reader sees: tables, figures, an HTML page, and single battles in the terminal.

Whatever a model wrote is shown as text, never as markup.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
