"""What looks after a checkout: profiles, checks, new rounds, digests of inputs, disk.

Nothing here changes what a stage writes.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
