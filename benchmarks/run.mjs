// The one command: starts servers and generators, measures, prints.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { measureScenario } from "./lib/measure.mjs";
import { pinning } from "./lib/processes.mjs";
import { scenarios } from "./lib/scenarios.mjs";
import { buildAspnet, findBun, folder, listRivals } from "./lib/servers.mjs";
import { goalsTable, markdownTable, scenarioBlock } from "./lib/tables.mjs";

const usage = `Usage: node benchmarks/run.mjs [options]

  --only <names>       scenarios, separated by commas; "echo-*" for all that begin so
  --servers <names>    servers, separated by commas
  --rounds <count>     windows of each server in each scenario (3)
  --seconds <seconds>  length of a window (2)
  --quick              one round of one second, and ASP.NET Core hardly warm: a first look
  --node <path>        the Node that runs halyard, ws and the floor (this one)
  --halyard <path>     another build's dist/index.js, to compare
  --profile <folder>   CPU profiles of the servers on Node, one file per scenario and server
  --generator <which>  bun or node: what runs the load generator (bun, if it is installed)
  --markdown           also print the table for the README
  --list               print the names of scenarios and servers
`;

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    servers: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    node: { type: "string", default: process.execPath },
    halyard: { type: "string" },
    profile: { type: "string" },
    generator: { type: "string" },
    markdown: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (!existsSync("/proc/self/stat")) stop("CPU time and memory are read from /proc: Linux only.");

installRivals();
const rounds = positive("rounds", options.rounds ?? (options.quick ? "1" : "3"));
const milliseconds = positive("seconds", options.seconds ?? (options.quick ? "1" : "2")) * 1000;
const warmUps = options.quick ? { first: 10_000, later: 7_000 } : { first: 90_000, later: 20_000 };

const rivals = chooseRivals();
const chosen = chooseScenarios();
if (options.list) {
  for (const { name, title } of scenarios) console.log(`${name.padEnd(20)}${title}`);
  console.log(`\nservers: ${rivals.map(({ name }) => name).join(", ")}`);
  process.exit(0);
}
if (rivals.some(({ name }) => name.startsWith("halyard")) && options.halyard === undefined) {
  if (!existsSync(join(folder, "../dist/index.js"))) stop("Halyard is not built: npm run build.");
}

const generator = chooseGenerator();
const began = performance.now();
const environment = {
  date: new Date().toISOString(),
  processor: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  pinning,
  node: version(options.node),
  rivals: versions(),
  generator: generator.name,
  rounds,
  seconds: milliseconds / 1000,
};
console.log(
  `${environment.processor}, ${environment.cores} cores, ${pinning}; Node ${environment.node}; ${rounds} rounds of ${environment.seconds} s; generator on ${generator.name}\n`,
);

/** Stay from one scenario to the next. @type {Map<string, import("./lib/processes.mjs").Server>} */
const warm = new Map();
const all = [];
for (const scenario of chosen) {
  const able = rivals.filter(
    ({ canCompress = false }) => canCompress || scenario.compress !== true,
  );
  const results = await measureScenario(scenario, able, {
    ...{ rounds, milliseconds, warmUps, warm },
    generator: generator.command,
  });
  all.push({ scenario, results });
  console.log(`${scenarioBlock(scenario, results)}\n`);
}
for (const server of warm.values()) await server.stop();

const table = goalsTable(all);
if (table) console.log(`${table}\n`);
if (options.markdown) console.log(`${markdownTable(all)}\n\n${legend()}\n`);
console.log(`${Math.round((performance.now() - began) / 1000)} s. Raw results: ${save()}`);
process.exit(0);

function stop(message) {
  console.error(message);
  process.exit(2);
}

function positive(name, text) {
  const value = Number(text);
  if (!(value > 0) || (name === "rounds" && !Number.isInteger(value))) {
    stop(`--${name} must be a positive number.`);
  }
  return value;
}

/** The rivals are no dependency of Halyard's own work, so they come with the first run. */
function installRivals() {
  const lock = join(folder, "package-lock.json");
  const installed = join(folder, "node_modules/.package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  const { status } = spawnSync("npm", ["ci", "--prefix", folder], { stdio: "inherit" });
  if (status !== 0) stop("npm ci failed.");
}

function chooseRivals() {
  const halyard = options.halyard && pathToFileURL(resolve(options.halyard)).href;
  const profiles = options.profile && resolve(options.profile);
  const known = listRivals({
    node: options.node,
    ...(halyard && { halyard }),
    ...(profiles && { profiles }),
  });
  const names = options.servers?.split(",");
  for (const name of names ?? []) {
    if (!known.some((rival) => rival.name === name)) {
      stop(`There is no server ${name}, only ${known.map((rival) => rival.name).join(", ")}.`);
    }
  }
  return known.filter((rival) => {
    if (names === undefined ? rival.isExtra : !names.includes(rival.name)) return false;
    const missing =
      rival.missing ?? (rival.name === "aspnet" && !options.list ? buildAspnet() : undefined);
    if (missing !== undefined) console.log(`${rival.name} is left out: ${missing}.`);
    return missing === undefined;
  });
}

function chooseScenarios() {
  if (options.only === undefined) return scenarios;
  return options.only.split(",").flatMap((pattern) => {
    const found = scenarios.filter(({ name }) =>
      pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
    );
    if (found.length === 0) stop(`There is no scenario ${pattern}; see --list.`);
    return found;
  });
}

function chooseGenerator() {
  const script = join(folder, "generator/main.mjs");
  const bun = options.generator === "node" ? undefined : findBun();
  if (bun !== undefined) return { name: "Bun", command: [bun, script] };
  if (options.generator === "bun") stop("Bun is not installed.");
  return { name: "Node", command: [process.execPath, script] };
}

function version(command) {
  return spawnSync(command, ["--version"]).stdout?.toString().trim();
}

function versions() {
  const { stdout } = spawnSync("npm", ["ls", "--json", "--prefix", folder]);
  const { dependencies = {} } = JSON.parse(String(stdout) || "{}");
  const packages = Object.entries(dependencies).map(([name, { version: is }]) => [name, is]);
  const dotnet = rivals.some(({ name }) => name === "aspnet") && { dotnet: version("dotnet") };
  return { ...Object.fromEntries(packages), ...dotnet };
}

/** The sentences below the README's table. */
function legend() {
  const others = Object.entries(environment.rivals).map(([name, is]) => `${name} ${is}`);
  return `${environment.date.slice(0, 10)}, ${environment.processor}, server on one core, Node ${environment.node}, ${others.join(", ")}; medians of ${rounds} interleaved rounds. \`ws\` in what it does per second of its own CPU time, the others as multiples of it; the last rows are bytes, where less is better.`;
}

/** @returns {string} The file's path. */
function save() {
  const results = all.map(({ scenario, results: measured }) => ({
    scenario: scenario.name,
    servers: Object.fromEntries(measured),
  }));
  mkdirSync(join(folder, "results"), { recursive: true });
  const file = join(folder, "results", `${environment.date.replaceAll(":", "-")}.json`);
  writeFileSync(file, `${JSON.stringify({ environment, results }, null, 2)}\n`);
  return file;
}
