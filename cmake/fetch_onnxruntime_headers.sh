#!/bin/sh
# Headers of ONNX Runtime's C interface into build/onnxruntime-headers, from Debian's package.
#
# The PyPI package has the library and no headers; these are of 1.21, whose interface every newer
# library serves. Nothing is installed and the system's own sources are not touched. Needs apt-get
# and dpkg (Debian, Ubuntu) and about 10 MB of network.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=$root/build/onnxruntime-headers
[ ! -e "$target/usr/include/onnxruntime/onnxruntime_c_api.h" ] || exit 0
for program in apt-get dpkg; do
  command -v $program >/dev/null || { echo "$0 needs $program: set XEDGE_ORT_INCLUDE instead" >&2; exit 1; }
done
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keys ] || { echo "$0 needs $keys (package debian-archive-keyring)" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keys] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} trixie main" >"$work/sources.list"
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
CONF
APT_CONFIG=$work/apt.conf
export APT_CONFIG
cd "$work"
apt-get update -qq
apt-get download -qq libonnxruntime-dev
mkdir -p "$target"
dpkg -x libonnxruntime-dev_*.deb "$target"
echo "$target"
