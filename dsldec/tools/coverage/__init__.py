"""`dsldec test --coverage`: the places of a policy that no case reaches.

`places` lists the places of a policy, `reached` finds the ones a step reaches, `report` runs the cases and
prints.
"""
