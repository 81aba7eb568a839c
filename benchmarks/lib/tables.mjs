// What a run prints: a block per scenario while it goes on, and the table for the README.

import { alignColumns, count, share, spread, times } from "./format.mjs";
import { judge } from "./goals.mjs";
import { median, ratio } from "./statistics.mjs";

/** @typedef {import("./measure.mjs").Scenario} Scenario */
/** @typedef {import("./measure.mjs").Results} Results */

/** @type {(scenario: Scenario, results: Results) => string} */
export function scenarioBlock(scenario, results) {
  const isMemory = scenario.kind === "idle";
  const head = isMemory
    ? ["", "bytes", "× ws", "(spread)", "× floor", "(spread)"]
    : ["", `${scenario.unit}/CPU s`, "× ws", "(spread)", "× floor", "(spread)"].concat(
        "per second",
        "server busy",
        "generator busy",
      );
  const rows = [...results].map(([name, measurement]) => {
    const { figures, perSecond, serverBusy, generatorBusy, failure, isUnsettled } = measurement;
    if (failure !== undefined) return [name, failure.replace(/\s+/g, " ").slice(0, 200)];
    const cells = [isUnsettled ? `${name} (not warm)` : name, count(median(figures))];
    for (const yardstick of ["ws", "floor"]) {
      const compared = ratio(figures, results.get(yardstick)?.figures);
      cells.push(times(compared?.median), spread(compared));
    }
    if (isMemory) return cells;
    return cells.concat(
      count(median(perSecond)),
      share(median(serverBusy)),
      share(median(generatorBusy)),
    );
  });
  const verdict = judge(scenario.name, ratiosOf("halyard", results));
  const lines = [`${scenario.name}: ${scenario.title}`, ...alignColumns([head, ...rows])];
  if (verdict) lines.push(`  goal met: ${verdict}`);
  return lines.join("\n");
}

/** @type {(all: { scenario: Scenario, results: Results }[]) => string} */
export function goalsTable(all) {
  const rows = all.flatMap(({ scenario, results }) => {
    const verdict = judge(scenario.name, ratiosOf("halyard", results));
    if (verdict === "") return [];
    const ratioTo = ratiosOf("halyard", results);
    const ratios = ["floor", "ws", "ws+bufferutil", "aspnet"].map((rival) => times(ratioTo(rival)));
    return [[scenario.name, ...ratios, verdict]];
  });
  if (rows.length === 0) return "";
  const head = ["halyard", "× floor", "× ws", "× ws+bufferutil", "× aspnet", "goal met"];
  return alignColumns([head, ...rows]).join("\n");
}

/** @type {(all: { scenario: Scenario, results: Results }[]) => string} */
export function markdownTable(all) {
  const measured = new Set(all.flatMap(({ results }) => [...results.keys()]));
  const rivals = Object.keys(titles).filter((name) => measured.has(name));
  const others = rivals.map((name) => titles[name]);
  const head = ["scenario", "`ws`", "Halyard", "Halyard × floor", ...others];
  const body = all.map(({ scenario, results }) => {
    const ws = results.get("ws");
    const [halyard, ...rest] = ["halyard", ...rivals].map((name) => {
      const measurement = results.get(name);
      if (measurement === undefined || measurement.failure !== undefined) return "–";
      const compared = ratio(measurement.figures, ws?.figures);
      return compared === undefined
        ? absolute(scenario, measurement)
        : times(compared.median).trim();
    });
    const own = ws === undefined || ws.failure !== undefined ? "–" : absolute(scenario, ws);
    const toFloor = times(ratiosOf("halyard", results)("floor"));
    return [scenario.title, own, halyard === "–" ? halyard : `**${halyard}**`, toFloor, ...rest];
  });
  const lines = [head, head.map((_, column) => (column === 0 ? "---" : "--:")), ...body];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The rivals in the order of the README's table. */
const titles = {
  aspnet: "ASP.NET Core",
  "halyard-pieces": "Halyard, piecewise",
  "ws+bufferutil": "`ws` + bufferutil",
  floor: "floor",
  bun: "Bun",
  deno: "Deno",
};

/** What `ws` does in figures; the others are multiples of it. */
function absolute({ kind }, { figures }) {
  const figure = median(figures);
  if (kind === "idle") return `${count(figure)} bytes`;
  return figure < 1000 ? `${count(figure)}/s` : `${(figure / 1000).toPrecision(3)} k/s`;
}

/** @param {Results} results */
function ratiosOf(name, results) {
  const own = results.get(name);
  return (rival) => {
    if (own === undefined || own.failure !== undefined) return undefined;
    return ratio(own.figures, results.get(rival)?.figures)?.median;
  };
}

/** The sentences below the README's table. */
export function legend({ date, processor, node, rivals, rounds }) {
  const others = Object.entries(rivals).map(([name, is]) => `${name} ${is}`);
  return `${date.slice(0, 10)}, ${processor}, server on one core, Node ${node}, ${others.join(", ")}; medians of ${rounds} interleaved rounds. \`ws\` in what it does per second of its own CPU time, the others as multiples of it; the last rows are bytes, where less is better.`;
}
