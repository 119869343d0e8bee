"""The memory of answers and verdicts, shared by all stages and by several processes."""
