"""Arena Learning: an offline chatbot arena whose lost battles become training data."""

__version__ = "0.1.0"
