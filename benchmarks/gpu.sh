#!/usr/bin/env bash
# Measures what needs an NVIDIA GPU, within ten minutes, and keeps the records.
#
# usage: benchmarks/gpu.sh [--brought FOLDER] [--out FOLDER] [--minutes N] [--dry-run]
#
#   --brought FOLDER  parts that `bring.py pack` wrote, where no package registry can be reached;
#                     without it everything but TensorRT-RTX must be installed
#   --out FOLDER      where records and logs go (default: gpu-records)
#   --minutes N       all steps together (default: 10); what does not fit is left out, and said so
#   --dry-run         the same steps on the processor, as small as they get
#
# Needs Python 3.10 or newer with PyTorch, and nvidia-smi. A step that fails does not stop the others.
set -euo pipefail

brought='' out=gpu-records minutes=10 dry=''
while [ $# -gt 0 ]; do
  case $1 in
    --brought) brought=${2:?--brought needs a folder}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --minutes) minutes=${2:?--minutes needs a number}; shift 2 ;;
    --dry-run) dry=yes; shift ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
case $minutes in '' | *[!0-9]*) echo "gpu.sh: --minutes $minutes is no whole number" >&2; exit 2 ;; esac

repository=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
mkdir -p "$out/logs"
out=$(cd "$out" && pwd)
end=$((SECONDS + minutes * 60))
failed=0

export PYTHONPATH=$repository:$repository/export:$repository/calibration:$repository/benchmarks${PYTHONPATH:+:$PYTHONPATH}
if [ -n "$brought" ]; then
  "$python" "$repository/benchmarks/bring.py" unpack "$brought" "$out/site"
  export PYTHONPATH=$out/site:$PYTHONPATH
fi
export XEDGE_CACHE=$out/cache
mkdir -p -m 700 "$XEDGE_CACHE"

"$python" -c 'import torch' || { echo "gpu.sh: $python has no PyTorch; name another with PYTHON=" >&2; exit 1; }
if [ -z "$dry" ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "gpu.sh: PyTorch sees no GPU; --dry-run tries the same steps on the processor" >&2
  exit 1
fi

# Numbers that no commit names are kept as scratch records.
scratch=--scratch
if state=$(git -C "$repository" status --porcelain -- . ':(exclude)benchmarks/results' 2>/dev/null) \
  && [ -z "$state" ]; then
  scratch=
else
  echo "no commit names this code: records are scratch records"
fi

# step NAME SECONDS COMMAND...: run it within its time and what is left, with a log of its own.
step() {
  local name=$1 limit=$2 left=$((end - SECONDS)) begun=$SECONDS status=0
  shift 2
  if [ "$left" -lt 10 ]; then
    echo "left out, no time: $name"; failed=$((failed + 1)); return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  timeout -k 5 "$limit" "$@" >"$out/logs/$name.txt" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    echo "done in $((SECONDS - begun)) s: $name"
  else
    failed=$((failed + 1))
    echo "FAILED with status $status after $((SECONDS - begun)) s: $name; $out/logs/$name.txt ends:"
    tail -n 3 "$out/logs/$name.txt" | sed 's/^/    /'
  fi
}

# The commands without entry points: xedge need not be installed.
xedge() { # NAME OF A MODULE, NAME OF A COMMAND, ARGUMENTS
  local module=$1 command=$2
  shift 2
  "$python" -c "import sys; from $module import $command as run; run(sys.argv[1:])" "$@"
}
bench() { xedge xedge_benchmarks.command bench "$@" --out "${into:-$out}" ${scratch:+"$scratch"}; }
# `timeout` starts programs, not functions.
export -f xedge bench
export python out scratch
run() { local name=$1 limit=$2; shift 2; step "$name" "$limit" bash -c '"$@"' run "$@"; }

if [ -n "$dry" ]; then
  contenders=(--contender torch --contender openvino:fp32 --contender onnxruntime:fp32 --contender cuda)
  first=chr-resnet34 more=(bundle) engine=onnxruntime rounds=2 seconds=2 lanes=1 processes=2
  table=(speed doam --engine onnxruntime --rounds 2 --warmup 0)
  quick=(--seconds 60 --within 150) peak=(--threads 1 --rounds 2)
else
  contenders=(--gpu --memory 16384)
  first=atss-la more=(bundle ssd-doam) engine=tensorrt-rtx-graph rounds=30 seconds=30 lanes=8
  processes=13
  table=(speed mechanisms --engine tensorrt-rtx-graph --rounds 50)
  quick=(--seconds 100 --within 150) peak=(--threads 1 --rounds 10)
  export TORCHINDUCTOR_COMPILE_THREADS=${TORCHINDUCTOR_COMPILE_THREADS:-$(nproc)}
fi

# Ahead of the step's own end, which would take the record with it: the last contender that is loaded
# within the time may still need all of its own.
brief=(--seconds 40 --within 50)

step machine 20 bash -c 'nvidia-smi -q || true; "$python" -m pip list || true; uname -a; nproc'
# Whether TensorRT-RTX runs on this GPU at all, and answers as ONNX Runtime does.
run doctor 60 xedge xedge.commands.doctor doctor
run verify 60 xedge xedge.commands.verify verify
run "contenders-$first" 300 bench contenders "$first" "${contenders[@]}" --rounds "$rounds" "${quick[@]}"
run mechanisms 150 bench "${table[@]}"
# What shares are of; without it reports say none.
run peak 60 bench peak "${peak[@]}"

# Belts: so many processes with so many lanes each, on one GPU, all at once and open loop.
belts() {
  local number pids=() status=0
  for number in $(seq "$processes"); do
    # In a folder of its own: records are named after the second.
    into=$out/belts-$number bench lane --engine "$engine" --lanes "$lanes" --speed 0.5 \
      --seconds "$seconds" --seed "$number" --threads 1 --json >"$out/logs/belts-$number.json" &
    pids+=($!)
  done
  for number in "${pids[@]}"; do wait "$number" || status=1; done
  "$python" - "$out"/logs/belts-*.json <<'END'
import json, sys
runs = [run for path in sys.argv[1:] for run in json.load(open(path))["results"]["runs"]]
lanes, bags, late = (sum(run[key] for run in runs) for key in ("lanes", "bags", "late"))
worst = max(run["latency_ms"]["max"] or 0 for run in runs)
print(f"{lanes} belts at 0.5 m/s in {len(runs)} processes: {bags} bags, {late} late, "
      f"at most {worst:.0f} ms from a bag's last line to its decision")
END
  return "$status"
}
export -f belts
export engine lanes processes seconds
run belts 120 belts
tail -n 1 "$out/logs/belts.txt" || true
for host in "${more[@]}"; do
  run "contenders-$host" 120 bench contenders "$host" "${contenders[@]}" --rounds "$rounds" "${brief[@]}"
done

echo "$failed steps failed or were left out; records and logs: $out"
[ "$failed" -eq 0 ]
