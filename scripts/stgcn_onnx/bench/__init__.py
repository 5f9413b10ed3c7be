"""How fast a file is: measured in processes of their own, in rounds that take turns, and told as ratios."""
