from .conversations import OddError
from .pairs import CONVERSATION, INSTRUCTION, LabelledPair, exchange_of, has_winner, winner_of
from .run import import_files
from .source import Record, is_lines, parsed, records

__all__ = [
    "CONVERSATION",
    "INSTRUCTION",
    "LabelledPair",
    "OddError",
    "Record",
    "exchange_of",
    "has_winner",
    "import_files",
    "is_lines",
    "parsed",
    "records",
    "winner_of",
]
