from .cache import cached_export, export_folder
from .converter import convert, hinted
from .export import EXPORT_VERSION, GgufType
from .metadata import refuse_scaled
from .pipeline import open_pipeline
from .reader import Reader, fast_gguf
from .tokenizer import load_gguf_tokenizer

__all__ = [
    "EXPORT_VERSION",
    "GgufType",
    "Reader",
    "cached_export",
    "convert",
    "export_folder",
    "fast_gguf",
    "hinted",
    "load_gguf_tokenizer",
    "open_pipeline",
    "refuse_scaled",
]
