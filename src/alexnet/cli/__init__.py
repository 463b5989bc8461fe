"""The verbs of the command line, each a few lines that make one call; torch is imported only when a verb runs."""
