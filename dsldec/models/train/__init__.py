"""How the embedded model was made: `python -m dsldec.models.train --help`.

Not here: what it learns (`dsldec.models.tasks`) and how it is loaded (`dsldec.models.huggingface`).
"""
