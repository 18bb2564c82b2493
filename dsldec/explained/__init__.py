"""Why did a step write a position, or not? The values of a step's expressions, and their explanation.

All steps of a run share one `explained_policy`. `step_record` has the values of one step, and `why` is the
explanation of one position. Needs no torch. Not here: how values are recorded (`runtime`), the page that
shows them (`tools.viewing`).
"""
