"""CITATION.cff is one by the schema 1.2.0, and says what the package says."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
REQUIRED = {"cff-version", "message", "title", "authors"}  # of the schema
ALLOWED = REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license", "license-url",
    "preferred-citation", "references", "repository", "repository-artifact", "repository-code", "type", "url",
    "version",
}  # fmt: skip
ENTITY = {
    "address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "location", "name", "orcid",
    "post-code", "region", "tel", "website",
}  # fmt: skip


def test_the_citation_is_valid_and_that_of_the_package() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert REQUIRED <= found.keys() <= ALLOWED
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "software"
    assert found["version"] == package["version"]
    assert found["license"] == package["license"]
    assert found["keywords"] == package["keywords"]
    assert found["abstract"] == package["description"]
    assert [author["name"] for author in found["authors"]] == [author["name"] for author in package["authors"]]
    assert all(author.keys() <= ENTITY for author in found["authors"])
    assert all(isinstance(found[key], str) and found[key] for key in ("message", "title", "version"))
