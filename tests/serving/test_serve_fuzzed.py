"""The API as schemathesis uses it, from its description: no error of the server, and all answers as described."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

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


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = int(os.environ.get("PRETRIEVE_FUZZ", "20"))  # of each operation
TRIED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_request_makes_an_error_of_the_server(judging, mode) -> None:
    schema = schemathesis.openapi.from_url(f"{judging.address}/openapi.json")
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode == "NEGATIVE" and operation.path in ("/healthz", "/metrics"):  # nothing to be wrong
            continue

        @TRIED
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
        def ask(case) -> None:
            case.call_and_validate(checks=CHECKS)
            asked.append((case.operation.method, case.operation.path))

        ask()
    described = {(method, path) for path, methods in schema.raw_schema["paths"].items() for method in methods}
    assert len(described) == 6
    assert len(set(asked)) == (6 if mode == "POSITIVE" else 4)
    assert len(asked) > 3 * EXAMPLES
