"""GGUF files: reading weights and tokenizers from them, and exporting models to them."""
