#!/bin/sh
# Install ONNX Runtime, OpenVINO and PyTorch, pinned, into build/venv-bench.
set -eu
cd "$(dirname "$0")/.."
exec sh tools/install_venv.sh build/venv-bench tools/requirements-live.txt bench/requirements.txt
