#!/bin/sh
# Make .venv and install a locked set into it, once: `tools/setup.sh demo` or `tools/setup.sh dev`.
# A stamp holds the checksum of what was asked for; while it matches, this takes milliseconds.
# PYTHON=... names an interpreter; otherwise the newest suitable one of the PATH is taken.
set -eu
cd "$(dirname "$0")/.."
set=${1:-demo}
lock=requirements/$set.txt
wanted=$(cat "$lock" requirements/dev.txt pyproject.toml tools/setup.sh | cksum)

# The dev set holds the demo set.
for done_set in "$set" dev; do
  stamp=.venv/.installed-$done_set
  if [ -x .venv/bin/cq ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] &&
    .venv/bin/python -c '' 2>/dev/null; then exit 0; fi
done

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
without_venv=
chosen=
for python in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
  "$python" -c "$fits" >/dev/null 2>&1 || continue
  if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then chosen=$python; break; fi
  without_venv=${without_venv:-$python}
done
if [ -z "$chosen" ]; then
  if [ "$(uname -s)" = Darwin ]; then cure="brew install python@3.12"
  elif [ -n "$without_venv" ]; then cure="sudo apt install $("$without_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  else cure="sudo apt install python3 python3-venv"; fi
  if [ -n "$without_venv" ]; then echo "$without_venv lacks the venv module; type: $cure" >&2
  else echo "Python 3.11, 3.12 or 3.13 is needed and not on the PATH${PYTHON:+ as $PYTHON}; type: $cure" >&2; fi
  exit 1
fi

tty=
if [ -t 1 ]; then tty=yes; fi
say() { if [ -n "$tty" ]; then printf '\r\033[K%s' "$1"; else echo "$1"; fi; }

began=$(date +%s)
log=.cache/setup.log
mkdir -p .cache
if ! .venv/bin/python -c "$fits" 2>/dev/null || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "setup: making .venv with $("$chosen" --version)"
  "$chosen" -m venv --clear .venv
fi

total=$(grep '^[a-z]' "$lock" | sed 's/==.*//' | sort -u | wc -l | tr -d ' ')
echo "setup: installing $total packages from $lock into .venv"
{
  status=0
  # The lock is complete, so nothing needs resolving (--no-deps), and every file must have a known hash.
  PYTHONUNBUFFERED=1 .venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps \
    --require-hashes --progress-bar off -r "$lock" 2>&1 || status=$?
  echo "pip-status $status"
} | tee "$log" | while IFS= read -r line; do # the shell reads line by line; awk may wait for 4 kB
  what=${line#* }; what=${what%% *}; what=${what##*/}
  case $line in
    "Collecting "* | "Processing "*) n=$((${n:-0} + 1)); say "  [$n/$total] $what" ;;
    "Requirement already satisfied: "*)
      n=$((${n:-0} + 1)); what=${line#*: }
      if [ -n "$tty" ]; then say "  [$n/$total] ${what%% *} is there"; fi ;;
    "Installing collected packages"*) say "  unpacking all of them ..." ;;
    "pip-status "*) if [ -n "$tty" ]; then printf '\r\033[K'; fi ;;
  esac
done
if ! tail -n 1 "$log" | grep -q '^pip-status 0$'; then
  grep -v -e '^Collecting' -e '^Processing' -e '^  Using' -e '^  Downloading' -e '^pip-status' "$log" | tail -n 15 >&2
  echo "setup: the packages could not be installed; all of pip's output is in $log" >&2
  exit 1
fi
# The project itself, from here: an edit counts at once. Its build tools are in the lock, nothing is fetched.
if ! .venv/bin/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e . >>"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "setup: the project itself could not be installed; all of pip's output is in $log" >&2
  exit 1
fi
echo "$wanted" > ".venv/.installed-$set"
echo "setup: done in $(($(date +%s) - began)) s, .venv takes $(($(du -sk .venv | cut -f1) / 1024)) MB"
