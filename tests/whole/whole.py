#!/usr/bin/env python3
"""The whole at once: BINARY FOLDER. `tests/whole/run` installs what it needs and tells what may be set."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import time
import urllib.parse

import leaks
import pages
from account import Account
from processes import BEGAN, Failed, Process, beside, get_json, pass_time, say, until
from table import Table
from world import Node, World

START = 25_000.0
#: p99 with everything on against nothing on. The promise is 1.1, where each process has its cores. On two, p99 of the some
#: twenty orders of a minute is the slowest of them: with nothing on it was 0.4 to 1.3 ms in four runs of 24 symbols and 4 to
#: 31 ms in three of 400, a factor of 8 with nothing changed. What is beyond 10 is no chance.
LATENCY_FACTOR = 10.0
#: After the faults: a comparison every 30 s puts right what was booked without a word of the venue's, and the weight that its
#: questions need is counted by the minute (a machine's starts and their histories use much of it).
HEAL_S = 65.0


DRILL = "drill of the whole"


class Story:
    """The phases of the run, and what was seen in them."""

    #: Time to live of the lease, s (docs/lease.md).
    lease_s = 3.0

    def __init__(self, world: World, seconds: float) -> None:
        self.world, self.seconds, self.table = world, seconds, Table()
        self.ended: list[tuple[str, float, str]] = []
        self.calm = 0.0
        #: Symbols that each run of an alpha node trades on.
        self.followed: dict[str, int] = {}
        self.latched: list[str] = []
        self.latency: dict[str, dict[str, float]] = {}

    def phase(self, text: str) -> None:
        say(f"== {text}")

    # -- beginning ---------------------------------------------------------------------------------------------------

    def start_nodes(self) -> None:
        world = self.world
        for node in world.ingest:
            node.start()
        began = time.monotonic()
        until("all books are in sync", 600, lambda: self.books() == world.symbols, *(n.process for n in world.ingest))
        say(f"{world.symbols} books in sync after {time.monotonic() - began:.0f} s")
        if not world.own_addresses:
            self.table.skipped("an address of its own for each node", "no C compiler: all share one, and its request weight")
        # Which symbols an alpha node trades on is settled when it starts.
        first, second = world.alphas
        first.start()
        until("an alpha node is active", 120, first.active, first.process)
        second.start()
        until("the other one stands by", 60, lambda: "stands by" in second.process.log(), second.process)
        self.trades()

    def books(self) -> int:
        return sum(node.state().get("market", {}).get("books_live", 0) for node in self.world.ingest)

    def trades(self) -> None:
        """Waits until the active node has closed a position that it opened."""
        node = until("an alpha node is active", 120, self.world.active)
        before = node.state().get("counts", {}).get("round_trips", 0)
        self.armed(node)
        until("it closes a trade", 240, lambda: node.state().get("counts", {}).get("round_trips", 0) > before, node.process)
        self.followed[node.process.name] = node.state().get("market", {}).get("books", 0)
        say(f"{node.process.name} trades on {self.followed[node.process.name]} symbols")

    def armed(self, node: Node) -> None:
        """Waits for it. What only a person lifts is lifted, and is a finding: no fault of the schedule is a person's doing."""

        def is_armed() -> bool:
            # `kill` is lifted by the deployment's rearm, which has been done where this is waited for.
            latched = [g for g in node.state().get("gates", []) if "rearm" in g["reopens"] and g["name"] != "kill"]
            text = f"{node.process.name}: " + "; ".join(f"{gate['name']}: {gate['cause']}" for gate in latched)
            if latched and text not in self.latched:
                say(f"latched: {text}")
                self.latched.append(text)
                self.world.dolphin(f"rearm{len(self.latched)}", "rearm", "--config", node.config, "--reason", "a latch in the whole", "--timeout", "10")
            return node.armed()

        try:
            until("it is armed", 240, is_armed, node.process)
        except Failed as failed:
            raise Failed(f"{failed}\n{json.dumps(node.state().get('gates'))}") from None

    def measure(self, name: str, seconds: float) -> None:
        """A phase without faults, and the latency of its last minute."""
        node = until("an alpha node is active", 60, self.world.active)
        orders = node.state()["counts"]["orders"]
        pass_time(seconds, *(n.process for n in self.world.nodes))
        state = until("it shows its state", 30, node.state, node.process)
        hop = next((h["minute"] for h in state["latency"] if h["name"] == "tick_to_order" and h["minute"]), None)
        if hop:
            self.latency[name] = {"n": hop["n"], "p50": hop["p50"] * 1e6, "p99": hop["p99"] * 1e6, "orders": state["counts"]["orders"] - orders}
        load = os.getloadavg()[0]
        say(f"{name}: tick to order {self.latency.get(name)}, load {load:.1f}, {node.state()['counts']['round_trips']} round trips")

    # -- in the middle -----------------------------------------------------------------------------------------------

    def lose_member(self) -> None:
        # The first address of the configuration: the one that every node has met the cluster by.
        self.world.cluster.members[0].kill()
        self.phase("a member is lost (kill -9)")
        self.trades()

    def member_returns(self) -> None:
        self.world.cluster.restart(0)
        say("the member is back")

    def kill_alpha(self) -> None:
        world = self.world
        node = until("an alpha node is active", 120, world.active)
        other = until("one stands by", 60, world.standby)
        until("a position is open", 60, lambda: node.state().get("positions"), node.process)
        node.process.kill()
        self.ended.append((node.name, time.time(), "kill -9"))
        self.phase(f"the active one, {node.process.name}, is killed (kill -9) with a position open")
        began = time.monotonic()
        until("the standby is active", 60, other.active, other.process)
        took = time.monotonic() - began
        self.trades()
        self.table.row("the standby takes over and trades", True, f"active {took:.1f} s after the kill, a trade closed {time.monotonic() - began:.1f} s after it")
        node.start()
        until("the killed one stands by again", 90, lambda: "stands by" in node.process.log(), node.process)

    def kill_switch(self) -> None:
        world = self.world
        self.phase("the kill switch is pulled from another machine")
        node = until("an alpha node is active", 120, world.active)
        other = until("one stands by", 60, world.standby)
        code, text = world.dolphin("kill", "kill", "--config", world.operator, "--reason", DRILL, "--timeout", "60", "--json", patience=120)
        ended = node.process.wait(60)
        self.ended.append((node.name, time.time(), "kill switch"))
        orders = world.venue.open_orders()
        until("the standby knows of the kill", 60, lambda: "killed by" in other.process.log(), other.process)
        ok = code == 0 and not orders
        self.table.row("kill: order flow ends, nothing is left working", ok, f"exit {code}, {len(orders)} orders open, the active node ended with {ended}: {text.strip()[:250]}")
        # An alpha node that is started now stands by as well: the kill is in force on every machine.
        node.start()
        until("a start stands by, killed", 60, lambda: "killed by" in node.process.log(), node.process)
        pass_time(self.lease_s + 2, node.process, other.process)
        active = [n.name for n in world.alphas if n.active()]
        self.table.row("before rearm nobody acts, nobody takes over", not active and not world.venue.open_orders(), f"both stand by for {self.lease_s + 2:.0f} s; active: {active or 'none'}")
        code, text = world.dolphin("rearm", "rearm", "--config", world.operator, "--reason", "the drill is over", "--timeout", "10")
        self.phase("rearmed")
        began = time.monotonic()
        until("a standby is active", 120, world.active, node.process, other.process)
        self.trades()
        self.table.row("rearm lets trading go on", code == 0, f"exit {code}, {text.strip()[:160]}; a trade closed {time.monotonic() - began:.0f} s after it")

    # -- the run -----------------------------------------------------------------------------------------------------

    def play(self) -> None:
        world, total = self.world, self.seconds
        self.start_nodes()
        began = time.monotonic()
        # What a node tells of its latency is of its last minute, which must lie in one phase.
        measured = max(62.0, 0.18 * total)
        self.phase(f"nothing on, {measured:.0f} s")
        self.measure("nothing on", measured)
        world.start_prometheus()
        dashboards = world.start_dashboards()
        world.start_top()
        flows = world.start_flows()
        self.phase(f"everything on, {measured:.0f} s")
        self.measure("everything on", measured)
        world.keep_answers("calm")
        self.phase("everything on, and a fault every few seconds")
        world.storm = True
        storm, parts = time.monotonic(), max(90.0, 0.54 * total)
        for share, event in ((0.1, self.lose_member), (0.3, self.kill_alpha), (0.5, self.member_returns), (0.65, self.kill_switch)):
            pass_time(max(0.0, storm + share * parts - time.monotonic()), *(n.process for n in world.nodes))
            world.keep_answers(event.__name__)
            event()
        pass_time(max(0.0, storm + parts - time.monotonic()), *(n.process for n in world.nodes))
        world.storm = False
        self.phase("the faults end")
        world.venue.heal()
        self.trades()
        done = world.schedule.done
        self.table.row("faults every few seconds", len(done) > 0, f"{len(done)} in {time.monotonic() - storm:.0f} s, {len(set(done))} kinds")
        self.table.row("every run of an alpha node trades on all symbols", set(self.followed.values()) == {world.symbols}, f"{self.followed} of {world.symbols}")
        self.table.row("no limit latched by a fault", not self.latched, "; ".join(self.latched) or "none")
        until("all books are in sync", 180, lambda: self.books() == world.symbols, *(n.process for n in world.ingest))
        active = until("an alpha node is active", 60, world.active)
        self.armed(active)
        self.phase("what the faults left is put right")
        pass_time(HEAL_S, *(n.process for n in world.nodes))
        # A gate that has opened is taken back within a second or two; one that is not is a finding of the checks.
        end = time.monotonic() + 20
        while pages.standing(world.webhook.pages, active.name) and time.monotonic() < end:
            beside()
        self.watchers(dashboards)
        self.flows(flows)
        world.keep_answers("end")
        self.resident()
        self.end_nodes()
        self.checks()
        say(f"the story took {time.monotonic() - began:.0f} s after the start of the nodes")

    def watchers(self, dashboards: list[Process]) -> None:
        world = self.world
        if len(dashboards) == 1:
            code = dashboards[0].end(60)
            seen = json.loads(dashboards[0].printed().strip().splitlines()[-1]) if code == 0 else []
            ok = len(seen) == 2 and all(s["states"] > self.seconds / 10 and not s["errors"] and not s["outside"] for s in seen)
            table = [f"{s['states']} states, {len(s['errors'])} errors, {len(s['outside'])} requests elsewhere, shows {s['armed']!r}" for s in seen]
            self.table.row("two dashboards stay open and go on", ok, "; ".join(table) or dashboards[0].log()[-300:])
        else:
            counts = [reader.printed().count("\ndata:") for reader in dashboards]
            self.table.row("two readers of the dashboards' events go on", min(counts) > self.seconds / 10, f"{counts} states")
        screens = {node.name: world.screen(node) for node in world.alphas}
        ok = all("UTC" in screen for screen in screens.values()) and any("UTC ARMED" in screen for screen in screens.values())
        first = [screen.strip().splitlines()[0][:60] if screen.strip() else "nothing" for screen in screens.values()]
        self.table.row("dolphin top goes on over all restarts", ok, "; ".join(first))
        up = self.ask("sum(up)")
        failing = self.ask('count(ALERTS{alertname!=""}) or vector(0)')
        samples = self.ask("sum(count_over_time(dolphin_trading_armed[1h]))")
        self.table.row("Prometheus scrapes all nodes", up == len(world.nodes), f"{up:.0f} of {len(world.nodes)} up, {samples:.0f} samples of dolphin_trading_armed, {failing:.0f} alerts now")
        fired = get_json(f"{world.prometheus}/api/v1/query?query=count_over_time(ALERTS%7Balertstate%3D%22firing%22%7D%5B1h%5D)")
        names = sorted({r["metric"]["alertname"] for r in fired["data"]["result"]}) if fired else []
        rules = get_json(f"{world.prometheus}/api/v1/rules")
        broken = [r["name"] for g in rules["data"]["groups"] for r in g["rules"] if r["health"] == "err"] if rules else ["no answer"]
        self.table.row("its rules evaluate", not broken, f"errors: {broken or 'none'}; alerts that fired: {', '.join(names) or 'none'}")

    def ask(self, query: str) -> float:
        answer = get_json(f"{self.world.prometheus}/api/v1/query?query={urllib.parse.quote(query)}")
        return float(answer["data"]["result"][0]["value"][1]) if answer and answer["data"]["result"] else float("nan")

    def flows(self, started: tuple[Process, Process | None]) -> None:
        supervise, prefect = started
        code = supervise.wait(120)
        lines = supervise.printed().strip().splitlines()
        told = json.loads(lines[-1]) if code == 0 and lines else {}
        self.table.row("dolphin supervise of yesterday's date", code == 0, f"exit {code}: {str(told)[:200] or supervise.log()[-200:]}")
        if prefect is None:
            self.table.skipped("the Prefect flow of yesterday's date", os.environ.get("PREFECT_WHY_NOT", "Prefect is not installed"))
            return
        code = prefect.wait(600)
        self.table.row("the Prefect flow of yesterday's date", code == 0, f"exit {code}: {prefect.log().strip().splitlines()[-1][:200]}")

    def resident(self) -> None:
        """Resident memory of each process: two minutes after it began to trade (45 s in a short form), and at its end."""
        told, grown = [], []
        for process in Process.all:
            process.look()
            if not process.resident or not process.name.startswith(("venue", "ingest", "alpha")):
                continue
            # A standby that has become active keeps a journal and trades: it is another program from then on.
            begun = (process.active_since or process.started) - BEGAN + (120 if self.seconds >= 480 else 45)
            early = [kb for at, kb in process.resident if at >= begun]
            last = process.resident[-1]
            if not early or last[0] - begun < 30:
                told.append(f"{process.name} too young")
                continue
            told.append(f"{process.name} {early[0] / 1024:.0f}→{last[1] / 1024:.0f} MB in {(last[0] - begun) / 60:.1f} min")
            # What is kept of the day (orders, trades, histories for charts) grows a little; a leak of frames or ticks would be MBs a second.
            if last[1] > early[0] * 1.15 + 8 * 1024:
                grown.append(process.name)
        self.table.row("resident memory is flat", not grown, ", ".join(told) + (f"; grown: {grown}" if grown else ""))

    # -- the end -----------------------------------------------------------------------------------------------------

    def end_nodes(self) -> None:
        self.phase("the nodes end (SIGTERM), the standby first")
        world = self.world
        active, standby = world.active(), world.standby()
        order = [node for node in (standby, active) if node] + world.ingest
        self.calm = time.time()
        codes = {}
        for node in order:
            codes[node.name] = node.process.end(60)
            self.ended.append((node.name, time.time(), "SIGTERM"))
        self.table.row("every node ends in good order", all(code == 0 for code in codes.values()) and len(codes) == 4, str(codes))

    def outs(self) -> list[tuple[Node, pathlib.Path]]:
        return [(node, node.out(n)) for node in self.world.alphas for n in range(len(node.runs)) if (node.out(n) / "summary.json").exists()]

    def checks(self) -> None:
        self.phase("the checks")
        world, table = self.world, self.table
        outs = self.outs()
        (world.folder / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in world.webhook.pages))
        sessions = [[json.loads(line) for line in (out / "fills.jsonl").read_text().splitlines()] for _, out in outs]
        account = Account(world)
        account.check(table, sessions, START)
        self.journals()
        pages.check(table, world.webhook.pages, self.ended, self.calm)
        self.report(outs, account)
        self.secrets()
        self.compare_latency()

    def journals(self) -> None:
        told, wrong = [], []
        for node in self.world.nodes:
            for folder in node.journals():
                for run in sorted({file.name.split("-")[1] for file in folder.glob("*.dj*")}):
                    code, text = self.replay(folder, run)
                    lines = text.strip().splitlines()
                    told.append(f"{node.name} {next((line for line in lines if line.startswith('run ')), text[-200:])}")
                    if code != 0:
                        wrong.append(f"{node.name} {run}: exit {code}: {text[-400:]}")
        self.table.row("every journal replays to the same decisions", not wrong and len(told) >= 3, f"{len(told)} runs: {'; '.join(told)} {'; '.join(wrong)}")

    def replay(self, folder: pathlib.Path, run: str) -> tuple[int, str]:
        """One run of a journal, in a directory of its own: the newest run of a directory is what is replayed."""
        alone = self.world.folder / "replay" / run
        alone.mkdir(parents=True)
        for file in folder.glob(f"*-{run}-*"):
            os.link(file, alone / file.name)
        return self.world.dolphin(f"replay.{run}", "replay", "--journal", alone, patience=600)

    def report(self, outs: list[tuple[Node, pathlib.Path]], account: Account) -> None:
        """The last run's report has its trades, and every run that was ended by the kill switch says so."""
        wrong, told = [], []
        for node, out in outs:
            summary = json.loads((out / "summary.json").read_text())
            page = (out / "report.html").read_text()
            trades = [json.loads(line) for line in (out / "trades.jsonl").read_text().splitlines()]
            gates = sorted({json.loads(line)["gate"] for line in (out / "gates.jsonl").read_text().splitlines()})
            told.append(f"{out.parent.name}/{out.name}: {len(trades)} trades, {summary['router']['fills']} fills, ended by {summary['ended_by']}, alerts {summary['alerts']}, gates {gates}")
            if summary["router"]["unknown"] or summary["router"]["working"]:
                wrong.append(f"{out}: orders without a fate")
            missing = [gate for gate in gates if gate not in page]
            if missing or len(page) < 10_000:
                wrong.append(f"{out}: its report does not name {missing}")
            booked = {(t["symbol"], t["pnl"]) for t in account.trades}
            if any((t["symbol"], t["pnl"]) not in booked for t in trades):
                wrong.append(f"{out}: a trade that memory does not have")
        kills = [text for text in told if "kill" in text]
        self.table.row("the report tells the story", not wrong and bool(kills) and len(outs) >= 3, "; ".join([*wrong, *told]))

    def secrets(self) -> None:
        world = self.world
        search = leaks.Search({"the API secret": world.secret, "the webhook's token": world.webhook.token, **{f"listen key {n}": key for n, key in enumerate(sorted(world.listen_keys))}})
        for map_name in ("DOLPHIN_STATE_BLUE", "DOLPHIN_TRADES_BLUE", "DOLPHIN_PNL_BLUE", "DOLPHIN_SAFETY", "DOLPHIN_HEARTBEAT", "DOLPHIN_LEASE", "DOLPHIN_CONTROL", "DOLPHIN_FEATURES"):
            for key in (world.memory("keys", map_name) or "").split():
                search.text(f"{map_name}[{key}]", (world.memory("get", map_name, key) or "").encode())
        # One key a symbol: a sample of every shard.
        for shard in range(10):
            for key in (world.memory("keys", f"DOLPHIN_FEATURES_SHARD_{shard:02}") or "").split()[:2]:
                search.text(f"shard {shard}", (world.memory("get", f"DOLPHIN_FEATURES_SHARD_{shard:02}", key) or "").encode())
        for page in world.webhook.pages:
            search.text("a page", json.dumps(page).encode())
        search.folder(world.folder, set(world.secret_files))
        packed = search.unpacker.library is not None
        # The venue's own log and memory are the venue's: they are searched all the same.
        self.table.row("no secret anywhere", not search.found, f"{search.files} files, {search.bytes / 1e6:.0f} MB ({search.unpacked / 1e6:.0f} MB of sealed journals{'' if packed else ': skipped, no libzstd'}); {len(world.listen_keys)} listen keys; {'; '.join(search.found) or 'none found'}")

    def compare_latency(self) -> None:
        a, b = self.latency.get("nothing on"), self.latency.get("everything on")
        if not a or not b:
            self.table.row("tick-to-order p99 with everything on", False, f"not measured: {self.latency}")
            return
        p50, p99 = b["p50"] / a["p50"], b["p99"] / a["p99"]
        text = f"p50 {a['p50']:.0f} → {b['p50']:.0f} µs ({p50:.2f}), p99 {a['p99']:.0f} → {b['p99']:.0f} µs ({p99:.2f}) of {a['n']} and {b['n']} orders on {os.cpu_count()} cores; FAIL beyond {LATENCY_FACTOR:.0f}, wanted 1.10"
        self.table.row("tick-to-order p99 with everything on", p99 <= LATENCY_FACTOR, text)


def main() -> int:
    binary, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    symbols, minutes, seed = int(os.environ.get("SYMBOLS", 400)), float(os.environ.get("MINUTES", 10)), int(os.environ.get("SEED", 1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say(f"{symbols} symbols, {minutes:g} minutes, seed {seed}, {os.cpu_count()} cores")
    world: World | None = None
    story: Story | None = None
    try:
        world = World(binary, folder, symbols, seed)
        story = Story(world, minutes * 60)
        story.play()
    except Failed as failed:
        print(failed, flush=True)
        if story is None:
            return 1
        story.table.row("the story came to its end", False, str(failed).splitlines()[0])
    finally:
        if world:
            world.end()
    story.table.print()
    return 1 if story.table.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
