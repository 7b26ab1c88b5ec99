"""What a benchmark does at another revision and here: a comparison of packages says nothing if the benchmark shrank.

`shape`, `observe`, `entries` and `recorder` are copied out and run in that revision's tree, whose gate has another
form: they import the standard library, pytest and each other.
"""
