"""The leaderboard: contestants' answers to the test set, compared and rated under every judge.

Monitors show where a round goes wrong even though its rating rises.
"""

import lazy_loader

# __init__.pyi lists the public names and their modules; a module is imported when a name of it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
