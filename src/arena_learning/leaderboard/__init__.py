"""The leaderboard: all answers to the test set against each other, rated."""
