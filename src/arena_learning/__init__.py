"""Arena Learning: an offline chatbot arena whose lost battles become training data.

The names in `__init__.pyi` are the Python interface. Nothing is imported before it is used.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
