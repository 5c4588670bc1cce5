"""Result folders → leaderboards and tables, from files alone: nothing is recomputed by a model."""
