"""GGUF files: reads weights and tokenizers from them, and exports models to them.

A model that would change in this format is refused.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
