#!/bin/sh
# Make a virtual environment that holds exactly a requirements file, or leave it alone when it already does.
# Usage: install_venv.sh FOLDER REQUIREMENTS...
# The stamp is the hash of the files and of the interpreter's version; it is written last, so a broken
# installation is made anew.
set -eu

folder=$1
shift
python=${PYTHON:-python3}
stamp=$({ "$python" --version; cat "$@"; } | sha256sum | cut -d' ' -f1)
if [ -x "$folder/bin/python" ] && [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
rm -rf "$folder"
"$python" -m venv "$folder"
files=
for file in "$@"; do files="$files -r $file"; done
echo "installing $* into $folder (several GB with PyTorch: minutes)" >&2
"$folder/bin/python" -m pip install -qq --disable-pip-version-check $files
echo "$stamp" >"$folder/stamp"
