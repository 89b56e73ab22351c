#!/usr/bin/env bash
# Tries the Binder environment on this machine: a fresh copy, a fresh environment, postBuild, and then a
# Jupyter server and the quickstart together under Binder's memory limit of 1 GB. Linux; the limit needs a
# writable memory cgroup (version 1 or 2), that is, usually root or a container.
#
#   binder/try.sh            takes about ten minutes, most of it compiling
#   KEEP=folder binder/try.sh    keeps the environment there and, if it is there already, uses it again
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
limit=$((1024 * 1024 * 1024))
work="${KEEP:-$(mktemp -d)}"
group=""
server=""

finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  if [ -n "$group" ]; then
    while read -r pid; do echo "$pid" >"$(dirname "$group")/cgroup.procs" 2>/dev/null || true; done <"$group/cgroup.procs"
    rmdir "$group" || true
  fi
  [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT

if [ ! -x "$work/env/bin/llmops" ]; then
  mkdir -p "$work"
  git -C "$root" archive --format=tar --prefix=repo/ HEAD | tar -x -C "$work"
  "python$(sed 's/python-//' "$root/binder/runtime.txt")" -m venv "$work/env"
  PATH="$work/env/bin:$PATH" "$work/repo/binder/postBuild"
fi
export PATH="$work/env/bin:$PATH"
cd "$work/repo/notebooks"

if [ -w /sys/fs/cgroup/cgroup.procs ] && grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
  group="/sys/fs/cgroup/llmops-binder-$$"
  mkdir "$group"
  echo "+memory" >/sys/fs/cgroup/cgroup.subtree_control
  echo "$limit" >"$group/memory.max"
  echo 0 >"$group/memory.swap.max" 2>/dev/null || true
  peak="$group/memory.peak"
elif [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
  group="/sys/fs/cgroup/memory/llmops-binder-$$"
  mkdir "$group"
  echo "$limit" >"$group/memory.limit_in_bytes"
  echo "$limit" >"$group/memory.memsw.limit_in_bytes" 2>/dev/null || true
  peak="$group/memory.max_usage_in_bytes"
else
  echo "There is no memory cgroup that may be written here, so the limit of 1 GB cannot be set." >&2
  exit 1
fi
echo $$ >"$group/cgroup.procs"

LLMOPS_HOME="$work/store" jupyter lab --no-browser --allow-root --port=0 --ip=127.0.0.1 >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 60); do grep -q "http://127.0.0.1" "$work/server.log" && break; sleep 1; done
grep -q "http://127.0.0.1" "$work/server.log" || { cat "$work/server.log" >&2; exit 1; }

LLMOPS_HOME="$work/store" jupyter execute 01_quickstart.ipynb --output "$work/quickstart.ipynb"
echo "The quickstart ran beside a JupyterLab server under a limit of 1,024 MB; peak of all together:" \
  "$(($(cat "$peak") / 1024 / 1024)) MB (page cache included)."
