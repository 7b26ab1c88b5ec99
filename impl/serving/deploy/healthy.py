"""Exits with 0 if a server answers with 200: `python impl/serving/deploy/healthy.py http://127.0.0.1:8000/ready`.

For the health checks of containers, whose images have no curl. It is a script of its own, because a module of the
package would import torch at each check.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT = 4.0  # seconds


def main(url: str) -> None:
    """Ask the server.

    Raises:
        SystemExit: It does not answer, or with an error, which is the message.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):  # noqa: S310 - the address of the container's own server
            pass
    except (OSError, urllib.error.URLError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
