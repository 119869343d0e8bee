from .cache import cached_export, export_folder
from .converter import convert, hinted
from .export import EXPORT_VERSION, GgufType
from .metadata import refuse_scaled
from .tokenizer import load_gguf_tokenizer

__all__ = [
    "EXPORT_VERSION",
    "GgufType",
    "cached_export",
    "convert",
    "export_folder",
    "hinted",
    "load_gguf_tokenizer",
    "refuse_scaled",
]
