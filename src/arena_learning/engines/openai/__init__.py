"""OpenAI-compatible endpoints as an engine: requests, replies, errors, rate limits.

Nothing that a server sends is trusted.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
