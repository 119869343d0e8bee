from .conversations import OddError
from .instructions import FoundInstruction, iter_instructions
from .pairs import CONVERSATION, INSTRUCTION, LabelledPair, exchange_of, has_winner, winner_of
from .run import import_files
from .source import Record, files_of, is_lines, parsed, records, without_replaced

__all__ = [
    "CONVERSATION",
    "INSTRUCTION",
    "FoundInstruction",
    "LabelledPair",
    "OddError",
    "Record",
    "exchange_of",
    "files_of",
    "has_winner",
    "import_files",
    "is_lines",
    "iter_instructions",
    "parsed",
    "records",
    "winner_of",
    "without_replaced",
]
