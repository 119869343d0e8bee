"""Importers: convert other tools' files to instructions, answers, verdicts, votes and labelled pairs.

Rows that cannot be used are counted by reason.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
