"""The instruction pool: read, filter, deduplicate, decontaminate, split."""
