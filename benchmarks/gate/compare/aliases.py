"""Absolute imports in a file's text, redirected to packages that have another name.

Only import statements change, and no line moves, so tracebacks, `inspect.getsource` and the caches of compilers find
the file that runs. Where `a_at_1` is the other name of `a`:

| statement | becomes |
|---|---|
| `from a.b import c` | `from a_at_1.b import c` |
| `import a.b as c` | `import a_at_1.b as c` |
| `import a.b` | `import a_at_1.b, a_at_1 as a` |

A name in a string stays as it is, and leads to the package that has the old name: `importlib.import_module("a.b")`,
`unittest.mock.patch("a.b.c")`, `importlib.resources.files("a")`, `python -m a.b`, and a pickle that was written under
the old name. Names that are relative, or made of `__name__` or `__package__`, need no redirection.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

LINE_END = re.compile(rb"\r\n?|\n")
NAME = re.compile(rb"[^\s.,\\]+")


@dataclass(frozen=True)
class Import:
    """An absolute import of a module.

    Attributes:
        top: the module's top-level package.
        start: where the text begins whose first name it is, in bytes.
        bound: where the module's name ends, if the statement binds the top-level package (`import a.b`).
    """

    top: str
    start: int
    bound: int | None = None


@dataclass(frozen=True)
class Imports:
    """The absolute imports of a file.

    Attributes:
        text: the file's content in UTF-8.
        encoding: its own encoding.
        found: the imports.
    """

    text: bytes
    encoding: str
    found: tuple[Import, ...]

    @classmethod
    def of(cls, content: bytes) -> "Imports | None":
        """Find the imports; None if the content is not Python of this interpreter's version."""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            text = content.decode(encoding)
            with warnings.catch_warnings(action="ignore"):  # they come again when the file is imported
                tree = ast.parse(text)
        except (SyntaxError, ValueError):
            return None
        return cls(text.encode(), encoding, tuple(_found(tree, text.encode())))

    @property
    def tops(self) -> set[str]:
        """Return the top-level packages that are imported."""
        return {one.top for one in self.found}

    def redirected(self, names: Mapping[str, str]) -> bytes:
        """Return the file's content with other top-level packages in its imports: {old name: new name}."""
        text = self.text
        for one in sorted(self.found, key=lambda one: one.start, reverse=True):
            if (new := names.get(one.top)) is None:
                continue
            if one.bound is not None:
                text = text[: one.bound] + f", {new} as {one.top}".encode() + text[one.bound :]
            text = text[: one.start] + NAME.sub(new.encode(), text[one.start :], count=1)
        return text.decode().encode(self.encoding)


def _found(tree: ast.AST, text: bytes) -> list[Import]:
    lines = [0, *(line.end() for line in LINE_END.finditer(text))]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            start = lines[node.lineno - 1] + node.col_offset + len("from")
            found.append(Import(_top(node.module), start))
        elif isinstance(node, ast.Import):
            for name in node.names:
                start = lines[name.lineno - 1] + name.col_offset
                end = lines[(name.end_lineno or name.lineno) - 1] + (name.end_col_offset or 0)
                found.append(Import(_top(name.name), start, None if name.asname else end))
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]
