from .checks import Check, Comparison
from .compare import champion_on_record, compare_with_champion, holds_promoted
from .decide import promote, roll_back
from .export import TOKEN, ExportedModel, Target, export_model, upload, upload_command
from .serving import PROGRAMS, ServeCommand, make_served_gguf, serve_command
from .stage import write_gate

__all__ = [
    "PROGRAMS",
    "TOKEN",
    "Check",
    "Comparison",
    "ExportedModel",
    "ServeCommand",
    "Target",
    "champion_on_record",
    "compare_with_champion",
    "export_model",
    "holds_promoted",
    "make_served_gguf",
    "promote",
    "roll_back",
    "serve_command",
    "upload",
    "upload_command",
    "write_gate",
]
