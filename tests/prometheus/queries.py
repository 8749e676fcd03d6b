"""Asks a Prometheus for every query of the rules and dashboards: each returns data, or all its metrics may be absent."""
import json
import re
import sys
import urllib.parse
import urllib.request

prometheus = sys.argv[1]


def ask(query):
    url = f"{prometheus}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def rules():
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        groups = json.load(answer)["data"]["groups"]
    for group in groups:
        for rule in group["rules"]:
            if rule.get("health") == "err":
                sys.exit(f"{rule['name']}: {rule.get('lastError')}")
            yield rule["name"], rule["query"]


def panels():
    for name in ("trading", "machine"):
        with open(f"ops/grafana/dashboards/{name}.json", encoding="utf-8") as file:
            for panel in json.load(file)["panels"]:
                for target in panel["targets"]:
                    yield f"{name}: {panel['title']}", target["expr"]


# Metrics that the reference says may be absent, and texts of comparisons that are empty while all is well.
with open("docs/metrics.md", encoding="utf-8") as file:
    may_be_absent = {m.group(1) for m in re.finditer(r"\| `(dolphin_\w+)` .*\bAbsent\b", file.read())}
empty, failed, n = [], [], 0
for name, query in [*rules(), *panels()]:
    n += 1
    # What is compared must be there; whether the comparison holds is the alert's affair.
    there = re.sub(r"\s(==|>|<|!=|>=|<=)(?=\s)(?!\s*bool)", r" \1 bool", query)
    if ask(there):
        continue
    metrics = set(re.findall(r"\bdolphin_\w+", query))
    base = {re.sub(r"_(bucket|count|sum)$", "", metric) for metric in metrics}
    if metrics & may_be_absent or base & may_be_absent:
        empty.append(query)
    else:
        failed.append(f"{name}: {query}")
print(f"{n} queries, {len(empty)} of metrics that are absent now, as the reference says")
for query in empty:
    print(f"  absent now: {query}")
if failed:
    sys.exit("no data for:\n  " + "\n  ".join(failed))
