#!/bin/sh
# Make the environment: torch's CPU build where there is no GPU, everything else from the pinned constraints.
# usage: tools/install.sh PYTHON VENV
set -eu
python=$1 venv=$2
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
  echo "pretrieve needs Python 3.11 to 3.13; $("$python" --version) was found. Try: make PYTHON=python3.12 demo" >&2
  exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check"
echo "Installing into $venv (a few minutes the first time) ..."
# The package index may carry torch with CUDA only, which is large: where PyTorch's own index of CPU builds can be
# reached, give its address in TORCH_INDEX (README, "Installing").
if ! $pip show --quiet torch 2>/dev/null; then
  $pip install -qq ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
fi
$pip install -qq --constraint constraints.txt --editable ".[train]"
