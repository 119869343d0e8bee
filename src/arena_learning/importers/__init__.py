"""Importers: what people have on disk from other tools, as instructions, recorded answers, verdicts and battle logs."""
