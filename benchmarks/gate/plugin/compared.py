"""What a run is compared with: the other revision, the environments of both sides, and the evidence of earlier runs."""

import pytest

from ..compare.evidence import Evidence, EvidenceError
from ..compare.revision import Revision, RevisionError
from .acknowledged import Acknowledgements
from .environments import Plan, plan
from .pair import Pairs
from .session import Session


def open_revision(config: pytest.Config, session: Session) -> None:
    """Find the revision of --against, and whether its dependencies are others.

    Raises:
        UsageError: There is no such revision, an option needs --against, or the acknowledged slowdowns cannot be read.
    """
    name, settings = config.getoption("against"), session.settings
    if name is None:
        for option in ("evidence", "against_python"):
            if config.getoption(option) is not None:
                raise pytest.UsageError(f"--{option.replace('_', '-')} is that of a comparison: add --against")
        return
    try:
        session.revision = Revision.open(config.rootpath, name)
    except RevisionError as error:
        raise pytest.UsageError(f"--against: {error}") from error
    if not settings.confirming:  # it asks for `slower` alone
        session.acknowledged = Acknowledgements.open(config, session.revision)
    planned = plan(config, session.revision)
    if isinstance(planned, Plan):
        session.plan = planned
        return
    session.findings.environments = planned
    if settings.confirming == "reference":
        session.revision.load(settings.package)  # before the benchmark modules load the working tree's


def open_sides(config: pytest.Config, session: Session) -> None:
    """Make both environments if the sides need them, and read the file of --evidence.

    Raises:
        UsageError: An environment cannot be made, or the file cannot be used.
    """
    revision, environment = session.revision, None
    if revision is None:
        return
    if session.plan:
        environments = session.plan.make(config)
        session.findings.environments = environments
        session.pairs = Pairs(
            config,
            revision,
            environments,
            candidate_first=session.settings.confirming == "candidate",
            remark=session.findings.remarks.append,
        )
        environment = environments.digest()
    if (path := config.getoption("evidence")) is None:
        return
    try:
        session.evidence = Evidence.open(path, config.rootpath, revision.commit, environment)
    except (EvidenceError, RevisionError) as error:
        raise pytest.UsageError(f"--evidence: {error}") from error
