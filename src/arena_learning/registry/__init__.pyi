from .checks import Check, Comparison
from .compare import champion_on_record, compare_with_champion
from .decide import promote, roll_back
from .stage import write_gate

__all__ = [
    "Check",
    "Comparison",
    "champion_on_record",
    "compare_with_champion",
    "promote",
    "roll_back",
    "write_gate",
]
