"""The arena: who answers what, and who meets whom."""
