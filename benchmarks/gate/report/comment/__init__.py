"""A pull request's comment: Markdown from what `--gate-json` wrote.

`python -m benchmarks.gate.report.comment gate.json` prints it, `comment.post` updates it in place on GitHub.

A pull request may come from anybody, and its own job writes the document. So nothing in it is trusted: it is read as
data, each value must be of the expected type, words such as verdicts must be known ones, and all other text is shown in
code spans, in which GitHub knows neither links nor mentions nor HTML. What it says may still be untrue: who changes the
code that judges can change the verdict, and that is for the review to see. The package imports the standard library
alone, so the job that may write comments installs nothing.
"""
