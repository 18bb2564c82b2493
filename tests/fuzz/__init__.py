"""Texts that try to break the checker, the formatter and the reader of cases, and the rules that are true for
every text.

`python -m tests.fuzz --seconds 3600 --seed 7` tries texts for an hour; `test_fuzz` does so for a minute.
"""
