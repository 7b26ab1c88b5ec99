"""Each ratio over the saved runs of like machines: `python -m benchmarks.gate.report.history` writes the page.

`document.as_document` says what happened, in JSON types; `page.section` and `page.page` draw that and nothing else.
"""
