// What a run prints: a block per scenario while it goes on, and the table for the README.

import { judge } from "./goals.mjs";
import { median, ratio } from "./statistics.mjs";

/** @typedef {import("./scenarios.mjs").Scenario} Scenario */
/** @typedef {Map<string, import("./measure.mjs").Measurement>} Results */

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
  const names = [...new Set(all.flatMap(({ results }) => [...results.keys()]))];
  const rivals = names.filter((name) => name !== "ws" && name !== "halyard");
  const others = rivals.map((name) => titles[name] ?? name);
  const head = ["scenario", "`ws`", "Halyard", ...others, "Halyard × floor"];
  const body = all.map(({ scenario, results }) => {
    const ws = results.get("ws");
    const cells = ["halyard", ...rivals].map((name) => {
      const measurement = results.get(name);
      if (measurement === undefined || measurement.failure !== undefined) return "–";
      const compared = ratio(measurement.figures, ws?.figures);
      return compared === undefined
        ? absolute(scenario, measurement)
        : times(compared.median).trim();
    });
    if (cells[0] !== "–") cells[0] = `**${cells[0]}**`;
    const own = ws === undefined || ws.failure !== undefined ? "–" : absolute(scenario, ws);
    const toFloor = times(ratiosOf("halyard", results)("floor"));
    return [scenario.title, own, ...cells, toFloor];
  });
  const lines = [head, head.map((_, column) => (column === 0 ? "---" : "--:")), ...body];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const titles = {
  "ws+bufferutil": "`ws` + bufferutil",
  floor: "floor (bare `node:net`)",
  bun: "Bun",
  deno: "Deno",
  aspnet: "ASP.NET Core",
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

function count(figure) {
  return Number.isFinite(figure) ? Math.round(figure).toLocaleString("en-US") : "–";
}

function times(figure) {
  if (figure === undefined) return "–";
  return figure < 10 ? figure.toFixed(2) : figure.toFixed(1);
}

function spread(compared) {
  if (compared === undefined || compared.low === compared.high) return "";
  return `(${times(compared.low)}–${times(compared.high)})`;
}

function share(figure) {
  return `${Math.round(figure * 100)} %`;
}

/** Names to the left, figures to the right; what is longer than its column (a failure) sticks out. */
function alignColumns(rows) {
  const isTable = (row) => row.length > 2;
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.filter(isTable).map((row) => row[column]?.length ?? 0)),
  );
  const last = rows[0].length - 1;
  return rows.map((row) => {
    const first = `  ${(row[0] ?? "").padEnd(Math.max(widths[0], 16))}`;
    if (!isTable(row)) return `${first}  ${row.slice(1).join("")}`;
    const isWords = rows[0][last] === "goal met";
    const cells = row.slice(1).map((cell, index) => {
      const column = index + 1;
      return isWords && column === last ? cell : cell.padStart(widths[column]);
    });
    return `${first}  ${cells.join("  ")}`.trimEnd();
  });
}
