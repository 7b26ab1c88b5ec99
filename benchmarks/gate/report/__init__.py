"""Words for the findings: the terminal's section, Markdown, JSON, GitHub's annotations."""
