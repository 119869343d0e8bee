"""Which battles become training rows, and the data card that accounts for every instruction."""
