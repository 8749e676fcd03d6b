"""Every relative link of these Markdown files leads to a file that is there, and to a heading of it where it names one."""

import pathlib
import re
import sys

FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def anchors(page: pathlib.Path) -> set[str]:
    found = set()
    for title in re.findall(r"^#+ +(.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.M):
        plain = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower())
        found.add(plain.replace(" ", "-"))
    return found


bad = []
for name in sys.argv[1:]:
    page = pathlib.Path(name)
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists():
            bad.append(f"{name}: {link} leads nowhere")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            bad.append(f"{name}: {target} has no heading {anchor}")
listed = set(re.findall(r"\(([\w/.-]+\.md)\)", pathlib.Path("docs/SUMMARY.md").read_text(encoding="utf-8")))
for page in pathlib.Path("docs").rglob("*.md"):
    if page.name != "SUMMARY.md" and str(page.relative_to("docs")) not in listed:
        bad.append(f"docs/SUMMARY.md: {page} is not in it")
print("\n".join(bad) or f"links of {len(sys.argv) - 1} files: fine")
sys.exit(bool(bad))
