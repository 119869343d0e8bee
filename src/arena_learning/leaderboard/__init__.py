"""The leaderboard: all answers to the test set against each other, rated under every judge.

Monitors say where a round goes wrong while its rating rises.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
