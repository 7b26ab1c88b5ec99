"""Put the comment on the pull request, in place of the last one: `python -m benchmarks.gate.report.comment.post FILE`.

It is for a workflow on `workflow_run`, whose token may write to pull requests (GH_TOKEN), and which downloads FILE from
the run of an untrusted job. Which pull request that is comes from GitHub's own event: the head's repository, branch and
commit, never from FILE. Elsewhere the comment is printed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .document import DocumentError, load
from .render import MARKER, comment, unreadable

BOT = "github-actions[bot]"  # whose comments the workflow's token writes: anybody can write the marker


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> int:
    """Post, or print."""
    (path,) = map(Path, arguments)
    run = workflow_run(environment)
    of_run = {"conclusion": run.get("conclusion"), "url": run.get("html_url")} if run else {}
    try:
        text = comment(load(path), **of_run)
    except DocumentError as error:
        text = unreadable(str(error), **of_run)
    if run is None:
        sys.stdout.buffer.write(text.encode())
        print("\nnot in a workflow on workflow_run: nothing is posted", file=sys.stderr)
        return 0
    repository = environment["GITHUB_REPOSITORY"]
    numbers = pull_requests(repository, run)
    if not numbers:
        print("no open pull request has the commit of this run as its head: nothing is posted")
    for number in numbers:
        post(repository, number, text)
        print(f"pull request {number}: the comment is up to date")
    return 0


def workflow_run(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the run that triggered this workflow, as GitHub describes it; None elsewhere."""
    path = environment.get("GITHUB_EVENT_PATH")
    if not path or environment.get("GITHUB_EVENT_NAME") != "workflow_run":
        return None
    run: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))["workflow_run"]
    return run


def pull_requests(repository: str, run: Mapping[str, Any]) -> list[int]:
    """Return the open pull requests whose head is the commit of a run: none if it was pushed to again.

    The event lists them only for branches of the same repository. So they are looked up by the head's owner and branch,
    which are as GitHub knows them, and the commit and the head's repository have to be those of the run.
    """
    head = run["head_repository"]
    if head is None:  # the fork was deleted meanwhile
        return []
    found = _gh(
        "--method=GET",
        f"repos/{repository}/pulls",
        "--raw-field=state=open",
        f"--raw-field=head={head['owner']['login']}:{run['head_branch']}",
        "--raw-field=per_page=100",
    )
    return [
        int(each["number"])
        for each in json.loads(found)
        if each["head"]["sha"] == run["head_sha"] and (each["head"]["repo"] or {}).get("id") == head["id"]
    ]


def post(repository: str, number: int, text: str) -> None:
    """Update this workflow's comment, or write the first one."""
    comments = f"repos/{repository}/issues/{number}/comments"
    pages = json.loads(_gh("--method=GET", "--paginate", "--slurp", comments, "--raw-field=per_page=100"))
    ids = [
        int(each["id"])
        for page in pages
        for each in page
        if (each["user"] or {}).get("login") == BOT and (each["body"] or "").startswith(MARKER)
    ]
    body = json.dumps({"body": text})
    if ids:
        _gh("--method=PATCH", f"repos/{repository}/issues/comments/{ids[0]}", "--input=-", stdin=body)
    else:
        _gh("--method=POST", comments, "--input=-", stdin=body)


def _gh(*arguments: str, stdin: str | None = None) -> str:
    """Return what GitHub's API says, by its own client, which has the token."""
    done = subprocess.run(  # noqa: S603 - no shell sees the arguments
        ["gh", "api", *arguments],  # noqa: S607 - the runner's own
        input=stdin,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
