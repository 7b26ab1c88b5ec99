"""Requests that schemathesis makes from the server's own description: right ones, and wrong ones of every kind."""

import json
from collections import Counter

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Not that everything that fits the description is accepted: it cannot say that data fit a shape, or bytes a format.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LONGEST = 64 * 1024  # bytes of an answer to a malformed request


def operations(url):
    """Return the operations of a server by "METHOD path"."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    return {operation.label: operation for operation in (result.ok() for result in schema.get_all_operations())}


def fuzz(url, operation, count, seed=0):
    """Send up to `count` requests of an operation; return how many were answered with each status.

    Raises:
        AssertionError, Exception: An answer is not as the description says, a 500, no JSON, or too long.
    """
    statuses = Counter()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=not seed,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def check(case):
        response = case.call(base_url=url, timeout=30)
        statuses[response.status_code] += 1
        assert response.status_code not in {500, 502}, f"{response.status_code}: {response.text[:200]}"
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert len(response.content) <= LONGEST
            assert json.loads(response.content)["error"]

    check()
    return statuses
