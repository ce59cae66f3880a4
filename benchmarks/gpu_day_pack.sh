#!/usr/bin/env bash
# Gathers in one folder all that benchmarks/gpu_day.py needs on a machine without a network.
#
#     benchmarks/gpu_day_pack.sh FOLDER [--data FOLDER] [--weights FOLDER]
#
# That machine must have Linux on x86-64, Python 3.12 and what is named in PRESENT below. Copy
# FOLDER to it and start FOLDER/gpu_day.sh. The folder stays below 60 MB without data and weights.
set -euo pipefail

usage="usage: $0 FOLDER [--data FOLDER] [--weights FOLDER]"
folder=${1:?$usage}
shift
data='' weights=''
while [ $# -gt 0 ]; do
  case $1 in
    --data) data=${2:?$usage} ;;
    --weights) weights=${2:?$usage} ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
  shift 2
done

checkout=$(cd "$(dirname "$0")/.." && pwd)
# Large or tied to the CUDA build of torch: the machine brings these.
PRESENT=(torch numpy scipy pandas PIL cv2 skimage)
# Everything else that the harness and its tests import. fvcore and iopath are built here.
BUILT=(fvcore iopath)
CARRIED=(
  annotated-doc annotated-types certifi charset-normalizer click hypothesis idna iniconfig kornia-rs
  lazy-loader markdown-it-py mdurl nvidia-ml-py packaging platformdirs pluggy portalocker
  ptflops pydantic pydantic_core Pygments pytest pytest-timeout PyYAML requests rich safetensors
  shellingham sortedcontainers tabulate termcolor tomlkit tqdm typer typing-inspection typing_extensions
  urllib3 yacs
)

pinned() { # the version that CI tests with
  local line
  line=$(grep -i "^$1==" "$checkout/constraints.txt") || {
    echo "constraints.txt does not pin $1: add it there" >&2
    return 1
  }
  echo "$line"
}

if [ -e "$folder" ]; then
  echo "$folder exists already: remove it, or name another folder" >&2
  exit 2
fi
mkdir -p "$folder/site-packages" "$folder/bin"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

requirements=()
for name in "${CARRIED[@]}"; do requirements+=("$(pinned "$name")"); done
sources=()
for name in "${BUILT[@]}"; do sources+=("$(pinned "$name")"); done
python3 -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" download --no-deps --dest "$work/wheels" --only-binary=:all: \
  --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  "${requirements[@]}"
"${pip[@]}" wheel --no-deps --wheel-dir "$work/wheels" "${sources[@]}" "$checkout"
for wheel in "$work"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$folder/site-packages"
done

# The strongest sandbox, where this machine's packages hold it.
if command -v apt-get > /dev/null && (cd "$work" && apt-get download bubblewrap > /dev/null 2>&1); then
  dpkg -x "$work"/bubblewrap_*.deb "$work/bubblewrap"
  cp "$work/bubblewrap/usr/bin/bwrap" "$folder/bin/"
else
  echo 'bubblewrap was not found: the day runs with the sandbox that the machine has' >&2
fi

# What runs lies in a checkout beside them; the packages above come from its wheel.
mkdir "$folder/checkout"
tar -C "$checkout" --exclude=__pycache__ -cf - pyproject.toml tests benchmarks results/official \
  | tar -C "$folder/checkout" -xf -
options=()
if [ -n "$data" ]; then cp -r "$data" "$folder/data" && options+=('--data "$here/data"'); fi
if [ -n "$weights" ]; then cp -r "$weights" "$folder/weights" && options+=('--weights "$here/weights"'); fi
chmod -R u+w "$folder"

cat > "$folder/gpu_day.sh" << START
#!/usr/bin/env bash
# Runs the GPU day with what lies beside this file: gpu_day.sh --minutes 8 --out FOLDER
set -euo pipefail
here=\$(cd "\$(dirname "\$0")" && pwd)
export PATH="\$here/bin:\$PATH" PYTHONPATH="\$here/site-packages" PYTHONDONTWRITEBYTECODE=1
python=\${PYTHON:-python3}
for name in ${PRESENT[*]}; do
  "\$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('\$name') is None)" || {
    echo "this machine's \$python has no \$name: install it, then start again" >&2
    exit 2
  }
done
exec "\$python" "\$here/checkout/benchmarks/gpu_day.py" ${options[*]} "\$@"
START
chmod +x "$folder/gpu_day.sh"
bytes=$(du -sb "$folder" | cut -f1)
echo "$folder holds $((bytes / 1000000)) MB"
