"""The commands of a page's `console` blocks as a bash script; `# exit N` behind a command is the code it must end with."""

import re
import shlex
import sys

print("""trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
run() { # expected code, command
  printf '$ %s\\n' "$2"
  code=0; eval "$2" || code=$?
  [ "$code" = "$1" ] || { echo "exit $code, not $1: $2"; exit 1; }
}""")
text = open(sys.argv[1], encoding="utf-8").read()
for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
    for command in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.M):
        code = re.search(r"# exit (\d+)$", command)
        print("run", code.group(1) if code else "0", shlex.quote(command))
