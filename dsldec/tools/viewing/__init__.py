"""The page of a trace: one HTML file that shows every step, and why it wrote each position.

`page_data` makes the data of the page, which `assets/trace_view.js` draws. Not here: how steps are recorded
(`runtime`), what explains them (`explained`).
"""
