// What a run prints about hubs.

import { alignColumns, count, share, spread, times } from "../../lib/format.mjs";
import { median, ratio } from "../../lib/statistics.mjs";
import { bound, goals } from "./goals.mjs";

/** @typedef {import("../../lib/measure.mjs").Scenario} Scenario */
/** @typedef {import("../../lib/measure.mjs").Results} Results */
/** @typedef {{ scenario: Scenario, results: Results }[]} All */

const protocols = ["json", "messagepack"];

/** @type {(scenario: Scenario, results: Results) => string} */
export function scenarioBlock(scenario, results) {
  const isMemory = scenario.kind === "idle";
  const head = isMemory
    ? ["", "bytes of RAM", "of heap", "goal met"]
    : ["", `${scenario.unit}/CPU s`, "× socketio", "(spread)", "× aspnet", "(spread)"].concat(
        ...["× bare", "(spread)", "per second", "server busy", "generator busy", "goal met"],
      );
  const rows = [...results].map(([name, measurement]) => {
    const { figures, perSecond, serverBusy, generatorBusy, failure, isUnsettled } = measurement;
    if (failure !== undefined) return [name, failure.replace(/\s+/g, " ").slice(0, 200)];
    const first = [isUnsettled ? `${name} (not warm)` : name, count(median(figures))];
    const verdict = judge(scenario, name, results);
    if (isMemory) return [...first, count(median(measurement.heap ?? [])), verdict];
    const compared = ["socketio", "aspnet", "bare"].flatMap((family) => {
      const against = compare(name, family, results);
      return [times(against?.median), spread(against)];
    });
    return [
      ...[...first, ...compared, count(median(perSecond))],
      ...[share(median(serverBusy)), share(median(generatorBusy)), verdict],
    ];
  });
  return [`${scenario.name}: ${scenario.title}`, ...alignColumns([head, ...rows])].join("\n");
}

/** @type {(all: All) => string} */
export function goalsTable(all) {
  const rows = all.flatMap(({ scenario, results }) =>
    protocols.flatMap((protocol) => {
      const name = `halyard-${protocol}`;
      const measurement = results.get(name);
      const title = `${scenario.name} ${protocol}`;
      if (measurement === undefined) return [];
      if (measurement.failure !== undefined) return [[title, "failed"]];
      const verdict = judge(scenario, name, results);
      if (scenario.kind === "idle") {
        const { resident, heap } = goals[scenario.name] ?? {};
        return [
          [
            ...[title, absolute(scenario, measurement), "", atMost(resident)],
            ...["", atMost(heap), "", verdict],
          ],
        ];
      }
      const cells = ["socketio", "aspnet"].flatMap((family) => [
        times(compare(name, family, results)?.median),
        atLeast(bound(scenario.name, protocol, family)),
      ]);
      const toBare = times(compare(name, "bare", results)?.median);
      return [[title, absolute(scenario, measurement), ...cells, toBare, verdict]];
    }),
  );
  if (rows.length === 0) return "";
  const head = ["halyard", "per CPU s", "× socketio", "goal", "× aspnet", "goal", "× bare"];
  return alignColumns([[...head, "goal met"], ...rows]).join("\n");
}

/** @type {(all: All) => string} */
export function markdownTable(all) {
  const head = ["scenario", "Socket.IO", "ASP.NET Core", "bare", "Halyard"].concat(
    ...["× Socket.IO", "(goal)", "× ASP.NET Core", "(goal)"],
  );
  const body = all.map(({ scenario, results }) => {
    const figure = (name) => {
      const measurement = results.get(name);
      if (measurement === undefined || measurement.failure !== undefined) return "–";
      return absolute(scenario, measurement);
    };
    const pair = (make) => {
      const [json, messagepack] = protocols.map(make);
      return json === messagepack ? json : `${json} / ${messagepack}`;
    };
    const figures = ["aspnet", "bare", "halyard"].map((family) =>
      pair((protocol) => figure(`${family}-${protocol}`)),
    );
    if (scenario.kind === "idle") {
      const { resident, heap } = goals[scenario.name] ?? {};
      const bounds = ["", `(${atMost(resident)} / ${atMost(heap)})`, "", ""];
      return [`${scenario.title}: RAM, heap`, figure("socketio"), ...figures, ...bounds];
    }
    const compared = ["socketio", "aspnet"].flatMap((family) => {
      const goal = pair((protocol) => atLeast(bound(scenario.name, protocol, family)));
      return [
        pair((protocol) => times(compare(`halyard-${protocol}`, family, results)?.median)),
        goal && `(${goal})`,
      ];
    });
    return [scenario.title, figure("socketio"), ...figures, ...compared];
  });
  const lines = [head, head.map((_, column) => (column === 0 ? "---" : "--:")), ...body];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The sentences below the README's table. */
export function legend({ date, processor, node, rivals, rounds }) {
  const { "socket.io": socketio, dotnet } = rivals;
  const aspnet = dotnet ? `, .NET SDK ${dotnet}` : "";
  return `${date.slice(0, 10)}, ${processor}, server on one core, Node ${node}, Socket.IO ${socketio}${aspnet}; medians of ${rounds} interleaved rounds. Thousands per second of the server's own CPU time, JSON / MessagePack; the last row is bytes per connection, where less is better.`;
}

/** Ratios to another server in the same protocol. */
function compare(name, family, results) {
  const own = results.get(name);
  const protocol = name.slice(name.indexOf("-") + 1);
  const other = results.get(family === "socketio" ? family : `${family}-${protocol}`);
  if (own === undefined || own.failure !== undefined) return undefined;
  return ratio(own.figures, other?.figures);
}

/** Whether Halyard's goals are met; empty for others, and without figures to compare. */
function judge({ name: scenario }, name, results) {
  if (!name.startsWith("halyard-")) return "";
  const protocol = name.slice("halyard-".length);
  const { resident, heap } = goals[scenario] ?? {};
  const measurement = results.get(name);
  const verdicts = [];
  if (resident !== undefined) {
    verdicts.push([median(measurement.figures) <= resident, `RAM ${atMost(resident)}`]);
    verdicts.push([median(measurement.heap ?? []) <= heap, `heap ${atMost(heap)}`]);
  }
  for (const family of ["socketio", "aspnet"]) {
    const goal = bound(scenario, protocol, family);
    const reached = compare(name, family, results)?.median;
    if (goal === undefined || reached === undefined) continue;
    verdicts.push([reached >= goal, `${atLeast(goal)} × ${family}`]);
  }
  const missed = verdicts.filter(([isMet]) => !isMet);
  if (verdicts.length === 0) return "";
  return missed.length === 0 ? "yes" : `no: ${missed.map(([, text]) => text).join(", ")}`;
}

function absolute({ kind }, { figures, heap = [] }) {
  const figure = median(figures);
  if (kind === "idle") return [figure, ...heap].map((bytes) => `${count(bytes)} B`).join(", ");
  return figure < 1e6 ? `${(figure / 1000).toPrecision(3)} k` : `${count(figure / 1000)} k`;
}

function atLeast(goal) {
  return goal === undefined ? "" : `≥ ${goal}`;
}

function atMost(goal) {
  return goal === undefined ? "" : `≤ ${count(goal)}`;
}
