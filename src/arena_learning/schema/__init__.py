"""The rows that flow between stages, rubric criteria and votes: what is written, and how it is read."""
