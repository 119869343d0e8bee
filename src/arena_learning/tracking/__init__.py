"""MLflow as a view of the project's files: runs are made from them and replaced when they change.

The view can be rebuilt from the files at any time.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
