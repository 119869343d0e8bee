"""Files of other tools as this project's files: instructions, answers, verdicts, votes, labelled pairs.

A row that cannot be read is counted with its reason.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
