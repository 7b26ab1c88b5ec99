"""`make readme`: the tables and the worked example in README, and the pictures in docs/, from what is committed."""
