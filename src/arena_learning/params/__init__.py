"""params.yaml as typed objects: every key that changes an output, its default and its range.

The chain of rounds is checked here, before anything runs.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
