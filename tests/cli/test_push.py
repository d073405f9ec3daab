"""``pretrieve push``: what is pushed, what is refused, and an upload to a hub of this machine."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
from huggingface_hub import ModelCard


@pytest.fixture(scope="module")
def trained(tmp_path_factory, documents) -> Path:
    folder = tmp_path_factory.mktemp("push")
    words = [
        "train",
        documents,
        "-o",
        folder / "my-model",
        "--steps",
        "3",
        "--tracker",
        "none",
        "--set",
        "batch_size=8",
    ]
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "my-model"


def program(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``pretrieve`` without a token, unless the environment has one."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    home = {"HF_HOME": environment.pop("home")}
    return subprocess.run(
        [sys.executable, "-m", "pretrieve", "push", *map(str, words)],
        capture_output=True, text=True, env={**clean, **home, **environment},
    )  # fmt: skip


def test_a_dry_run_lists_what_would_be_pushed_without_a_network(trained, tmp_path) -> None:
    model = tmp_path / "my-model"
    shutil.copytree(trained, model)
    for name in ("curves/events", "old.work/records.jsonl", ".cache/a"):
        (model / name).parent.mkdir()
        (model / name).write_text("secret")
    words = (model, "owner/my-model", "--dry-run", "--json")
    plain = program(*words, home=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9")
    assert plain.returncode == 0, plain.stderr
    facts = orjson.loads(plain.stdout)
    names = set(facts["files"])
    assert {"README.md", "model.safetensors", "modules.json", "MANIFEST.json", "recipe.json"} <= names
    assert facts["files"] == {name: (model / name).stat().st_size for name in sorted(names)}
    assert not any(name.startswith(("start", "curves", "old", ".")) for name in names)
    assert facts["left_out"] == {
        "curves": 1, "workspace": 1, "hidden": 1, "start": sum(p.is_file() for p in (model / "start").rglob("*")),
    }  # fmt: skip
    assert facts["pushed"] is None
    more = orjson.loads(program(*words, "--with-start", home=str(tmp_path)).stdout)
    assert {"start/model.safetensors", "curves/events"} <= set(more["files"])
    assert more["left_out"] == {"workspace": 1, "hidden": 1}
    shown = program(model, "owner/my-model", "--dry-run", "--private", home=str(tmp_path)).stdout
    assert "Would push to owner/my-model, private:" in shown
    assert "library_name: sentence-transformers" in shown
    assert "names no licence" in shown
    assert "left out: 1 files of workspaces" in shown
    assert ModelCard.load(model / "README.md").data.to_yaml() == facts["front_matter"]


def test_what_is_pushed_alone_is_a_whole_model(trained, tmp_path, run) -> None:
    facts = orjson.loads(program(trained, "owner/my-model", "--dry-run", "--json", home=str(tmp_path)).stdout)
    for name in facts["files"]:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained / name, tmp_path / "copy" / name)
    assert run("verify", tmp_path / "copy").code == 0


@pytest.mark.parametrize("dry", [True, False])
def test_what_is_no_whole_model_is_refused(trained, tmp_path, documents, run, dry) -> None:
    option = ["--dry-run"] if dry else []
    assert "is not a folder" in run("push", documents, "owner/name", *option).err
    assert "not a model" in run("push", tmp_path, "owner/name", *option).err
    assert run("index", documents, "--model", trained, "-o", tmp_path / "index").code == 0
    assert "is an index" in run("push", tmp_path / "index", "owner/name", *option).err
    shutil.copytree(trained, tmp_path / "damaged")
    (tmp_path / "damaged" / "tokenizer.json").unlink()
    outcome = run("push", tmp_path / "damaged", "owner/name", *option)
    assert outcome.code == 1
    assert "tokenizer.json" in outcome.err
    assert "no name of a repository" in run("push", trained, "a/b/c", *option).err


def test_without_a_token_or_a_network_it_is_one_line(trained, tmp_path) -> None:
    home = str(tmp_path)
    without = program(trained, "owner/my-model", home=home)
    assert without.returncode == 1
    assert without.stderr.startswith("error: pushing needs a token")
    away = program(trained, "owner/my-model", home=home, HF_TOKEN="hf_x", HF_ENDPOINT="http://127.0.0.1:9")
    offline = program(trained, "owner/my-model", home=home, HF_TOKEN="hf_x", HF_HUB_OFFLINE="1")
    for outcome, words in ((away, "was not pushed"), (offline, "HF_HUB_OFFLINE=1")):
        assert outcome.returncode == 1, outcome.stderr
        assert words in outcome.stderr
        assert len(outcome.stderr.strip().splitlines()) == 1, outcome.stderr


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload of small files asks for."""

    asked: list[tuple[str, str, bytes]]
    public = False

    def _answer(self, value: object, code: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, b""))
        private = not self.public
        self._answer({"id": "owner/my-model", "private": private, "sha": "0" * 40, "siblings": [], "tags": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(("POST", self.path, body))
        here = f"http://{self.headers['Host']}/owner/my-model"
        if "/preupload/" in self.path:
            found = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer({"files": [{**file, "shouldIgnore": False} for file in found]})
        elif "/commit/" in self.path:
            self._answer({"commitUrl": f"{here}/commit/1", "commitOid": "1" * 40, "pullRequestUrl": None})
        elif "validate-yaml" in self.path:
            self._answer({"errors": [], "warnings": []})
        else:
            self._answer({"url": here, "name": "owner/my-model"})

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def hub():
    Hub.asked, Hub.public = [], False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_upload_is_one_commit_of_what_the_dry_run_lists(trained, tmp_path, hub) -> None:
    usual = {"home": str(tmp_path), "HF_TOKEN": "hf_x", "HF_ENDPOINT": hub}
    words = (trained, "owner/my-model", "--private", "--revision", "v1", "--json")
    listed = orjson.loads(program(*words, "--dry-run", home=str(tmp_path), HF_ENDPOINT=hub).stdout)
    assert Hub.asked == []
    done = program(*words, **usual)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["pushed"].endswith("/commit/1")
    (commit,) = (body for _, path, body in Hub.asked if "/commit/v1" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    assert {line["value"]["path"] for line in lines if line["key"] == "file"} == set(listed["files"])
    (made,) = (json.loads(body) for _, path, body in Hub.asked if path.endswith("/repos/create"))
    assert made["visibility"] == "private"


def test_a_public_repository_is_not_pushed_to_as_private(trained, tmp_path, hub) -> None:
    Hub.public = True
    done = program(trained, "owner/my-model", "--private", home=str(tmp_path), HF_TOKEN="hf_x", HF_ENDPOINT=hub)
    assert done.returncode == 1
    assert "exists and is public" in done.stderr
    assert not any("/commit/" in path for _, path, _ in Hub.asked)
