"""`dsldec list`: the shipped policies, as text or as JSON.

`entry` describes one policy, `hosts` says where it runs, `listing` prints.
"""
