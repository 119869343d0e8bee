"""vLLM as an engine, each model in a process of its own.

The worker speaks lines of JSON; its end frees all of its memory.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
