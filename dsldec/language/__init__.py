"""Text to tree: the grammar's classes, the parser, and the table of words. No torch here."""
