"""The API as schemathesis uses it, from its description: no error of the server, and all answers as described."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from serving.conftest import Server

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")


@pytest.fixture(scope="module")
def judging(served_folder, tmp_path_factory):
    server = Server(served_folder / "index", "--judgements", tmp_path_factory.mktemp("fuzzed") / "kept")
    yield server
    code, said = server.stop()
    assert code == 0
    assert "unexpected" not in said


@pytest.fixture(scope="module")
def described(judging):
    return schemathesis.openapi.from_url(f"{judging.address}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_an_error_of_the_server(case) -> None:
    case.call_and_validate(
        checks=[
            schemathesis.checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
    )
