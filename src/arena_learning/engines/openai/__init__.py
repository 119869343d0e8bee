"""OpenAI-compatible endpoints as an engine."""
