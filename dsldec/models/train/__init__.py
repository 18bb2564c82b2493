"""How was the embedded model trained? See `python -m dsldec.models.train --help`.

Not here: the tasks (`dsldec.models.tasks`), loading (`dsldec.models.huggingface`).
"""
