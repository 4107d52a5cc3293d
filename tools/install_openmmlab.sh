#!/usr/bin/env bash
# Install the real OpenMMLab stack into the active Python environment:
#   torch 2.14.1, torchvision 0.29.1, mmengine 0.10.7, mmcv 2.1.0 with compiled
#   ops, mmdet 3.3.0, mmpose 1.3.2, mmsegmentation 1.2.2 and, for the ReID
#   models of mmdet, mmpretrain 1.2.0. Tried on Linux x86-64 with Python 3.11.
#
#   bash tools/install_openmmlab.sh
#
# Compiling mmcv takes about 10 minutes on 2 cores and needs g++. Running the
# script again takes seconds: what is there stays, and pip keeps the wheel that
# it built for the next environment.
set -euo pipefail

python=${PYTHON:-python}
say() { printf '\n[install_openmmlab] %s\n' "$*"; }
install() { "$python" -m pip install --disable-pip-version-check -q "$@"; }

# Whether every NAME==VERSION is installed.
have() {
    "$python" - "$@" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
for wanted in sys.argv[1:]:
    name, _, number = wanted.partition('==')
    try:
        # A local part names a build of the same release: 2.14.1+cpu.
        found = version(name).split('+')[0]
    except PackageNotFoundError:
        sys.exit(1)
    if number and found != number:
        sys.exit(1)
PY
}

if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    say 'warning: no virtual environment is active'
fi
if have onedl-mmengine; then
    say 'error: onedl-mmengine is installed, and mmengine would be installed
  over it, since both are the package mmengine. Use another environment.'
    exit 1
fi
say "environment: $("$python" -c 'import sys; print(sys.prefix)')"

if ! have torch==2.14.1 torchvision==0.29.1 ninja psutil cython wheel; then
    say '1/4 torch, torchvision and what is needed to compile'
    # mmcv's setup.py and the mmdet:: paths of mmengine import pkg_resources,
    # which setuptools 80 and later warn of and then drop.
    install torch==2.14.1 torchvision==0.29.1 'setuptools<80' wheel ninja \
        psutil cython
else
    say '1/4 torch and torchvision are there'
fi

if ! have mmcv==2.1.0; then
    say '2/4 mmcv 2.1.0 with its ops (compiling: about 10 minutes)'
    # mmcv asks for C++17 and this torch needs C++20 (open-mmlab/mmcv#3341).
    # The last -std given is the one that counts.
    wrapper=$(mktemp -d)
    trap 'rm -rf "$wrapper"' EXIT
    printf '#!/bin/sh\nexec "%s" "$@" -std=c++20\n' "${CXX:-g++}" \
        >"$wrapper/g++"
    chmod +x "$wrapper/g++"
    CXX="$wrapper/g++" MMCV_WITH_OPS=1 install --no-build-isolation mmcv==2.1.0
else
    say '2/4 mmcv 2.1.0 is there'
fi

if ! have xtcocotools; then
    say '3/4 xtcocotools from source, for NumPy 2'
    install --no-build-isolation --no-binary xtcocotools xtcocotools
else
    say '3/4 xtcocotools is there'
fi

if ! have mmengine==0.10.7 mmdet==3.3.0 mmpose==1.3.2 mmpretrain==1.2.0 \
    mmsegmentation==1.2.2 ftfy regex prettytable; then
    say '4/4 mmengine, mmdet, mmpose, mmpretrain and mmsegmentation'
    install mmengine==0.10.7 pycocotools shapely six terminaltables tqdm \
        scipy munkres json_tricks mmpretrain==1.2.0 ftfy regex prettytable
    # mmpose names chumpy, which no longer builds and is never imported.
    install --no-deps mmdet==3.3.0 mmpose==1.3.2 mmsegmentation==1.2.2
else
    say '4/4 mmengine, mmdet, mmpose, mmpretrain and mmsegmentation are there'
fi

say 'checking that it imports'
"$python" - <<'PY'
import warnings

warnings.simplefilter('ignore')
import mmcv
import mmcv.ops
import mmdet
import mmdet.models
import mmengine
import mmpose
import mmpose.models
import mmpretrain
import mmseg
import mmseg.models
import torch

for module in (torch, mmengine, mmcv, mmdet, mmpose, mmpretrain, mmseg):
    print(f'{module.__name__} {module.__version__}')
PY
