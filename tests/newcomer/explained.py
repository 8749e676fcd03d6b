"""No step unexplained: each block of commands has text right before or after it, names only files that are there or that an
earlier command made, and only subcommands that the page of commands tells about."""

import pathlib
import re
import sys

page = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
parts = re.split(r"^```(\w*)\n(.*?)^```$", page, flags=re.M | re.S)
texts, kinds, blocks = parts[0::3], parts[1::3], parts[2::3]
told = pathlib.Path("docs/commands.md").read_text(encoding="utf-8")
bad, order = [], []
for n, (kind, block) in enumerate(zip(kinds, blocks)):
    def prose(text: str) -> bool:
        lines = [line for line in text.strip().splitlines() if line and not line.startswith("#")]
        return len(" ".join(lines).split()) >= 8

    if not prose(texts[n]) and not prose(texts[n + 1]):
        bad.append(f"a block that nothing explains:\n{block}")
    for command in re.findall(r"^(?:\$ )?(.*)$", block, re.M):
        for word in re.findall(r"\bdolphin (\w+)", command):
            order += [word] if kind == "console" else []
            if not re.search(rf"^## .*\b{word}\b", told, re.M):
                bad.append(f"`dolphin {word}` is not in docs/commands.md")
        for path in re.findall(r"(?:configs|docs)/[\w./-]+", command):
            if not pathlib.Path(path).exists():
                bad.append(f"{path} is not there")
path = ["demo", "replay", "parity", "venue", "live", "check", "live", "status"]
if order != path:
    bad.append(f"the path is {order}, not {path}")
print("\n".join(bad) or "each step of the newcomer's path is explained")
sys.exit(bool(bad))
