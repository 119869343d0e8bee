"""The leaderboard: all answers to the test set against each other, rated under every judge.

Monitors say where a round goes wrong while its rating rises.
"""

import lazy_loader

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
