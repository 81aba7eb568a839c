// What both commands have in common: options, choice of servers and scenarios, the run itself.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { measureScenario } from "./measure.mjs";
import { pinning } from "./processes.mjs";
import { hottest } from "./profiles.mjs";
import { buildAspnet, findBun, folder } from "./servers.mjs";

const usage = (entry, onNode) => `Usage: node ${entry} [options]

  --only <names>       scenarios, separated by commas; "echo-*" for all that begin so
  --servers <names>    servers, separated by commas
  --rounds <count>     windows of each server in each scenario (3)
  --seconds <seconds>  length of a window (2)
  --quick              one round of one second, and ASP.NET Core hardly warm: a first look
  --node <path>        the Node that runs ${onNode} (this one)
  --halyard <path>     another build's dist/index.js, to compare
  --profile <folder>   CPU profiles of the servers on Node, one file per scenario and server
  --generator <which>  bun or node: what runs the load generator (bun, if it is installed)
  --markdown           also print the table for the README
  --list               print the names of scenarios and servers
`;

/**
 * @typedef {object} Benchmark
 * @property {string} entry - Its path, as one types it.
 * @property {string} onNode - The servers that --node concerns.
 * @property {string} generator - The generator's script, below benchmarks/.
 * @property {string} aspnet - The project of the ASP.NET Core server, below benchmarks/.
 * @property {string} results - What the names of its results begin with.
 * @property {readonly import("./measure.mjs").Scenario[]} scenarios
 * @property {(options: { node: string, halyard?: string, profiles?: string }) =>
 *   import("./measure.mjs").Rival[]} listRivals
 * @property {import("./measure.mjs").Table} block - What is printed after a scenario.
 * @property {(all: Results) => string} summary - What is printed at the end.
 * @property {(all: Results) => string} markdown
 * @property {(environment: object) => string} legend - The sentences below the README's table.
 */
/** @typedef {{ scenario: import("./measure.mjs").Scenario,
 *   results: import("./measure.mjs").Results }[]} Results */

/** @param {Benchmark} benchmark */
export async function main(benchmark) {
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
    console.log(usage(benchmark.entry, benchmark.onNode));
    process.exit(0);
  }
  if (!existsSync("/proc/self/stat")) stop("CPU time and memory are read from /proc: Linux only.");

  installRivals();
  const rounds = positive("rounds", options.rounds ?? (options.quick ? "1" : "3"));
  const milliseconds = positive("seconds", options.seconds ?? (options.quick ? "1" : "2")) * 1000;
  const warmUps = options.quick ? quickWarmUps : fullWarmUps;

  const rivals = chooseRivals(benchmark, options);
  const chosen = chooseScenarios(benchmark, options);
  if (options.list) {
    for (const { name, title } of benchmark.scenarios) console.log(`${name.padEnd(20)}${title}`);
    console.log(`\nservers: ${rivals.map(({ name }) => name).join(", ")}`);
    process.exit(0);
  }
  if (rivals.some(({ name }) => name.startsWith("halyard")) && options.halyard === undefined) {
    if (!existsSync(join(folder, "../dist/index.js"))) {
      stop("Halyard is not built: npm run build.");
    }
  }

  const generator = chooseGenerator(join(folder, benchmark.generator), options.generator);
  const began = performance.now();
  const environment = {
    date: new Date().toISOString(),
    processor: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    pinning,
    node: version(options.node),
    rivals: versions(rivals),
    generator: generator.name,
    rounds,
    seconds: milliseconds / 1000,
  };
  console.log(
    `${environment.processor}, ${environment.cores} cores, ${pinning}; Node ${environment.node}; ${rounds} rounds of ${environment.seconds} s; generator on ${generator.name}\n`,
  );

  /** Stay from one scenario to the next. @type {Map<string, import("./processes.mjs").Server>} */
  const warm = new Map();
  const all = [];
  for (const scenario of chosen) {
    const able = rivals.filter(({ lacks }) => !lacks?.(scenario));
    const results = await measureScenario(scenario, able, {
      ...{ rounds, milliseconds, warmUps, warm },
      generator: generator.command,
    });
    all.push({ scenario, results });
    console.log(`${benchmark.block(scenario, results)}\n`);
    if (options.profile) printProfiles(options.profile, scenario, results);
    save(benchmark.results, environment, all);
  }
  for (const server of warm.values()) await server.stop();

  const summary = benchmark.summary(all);
  if (summary) console.log(`${summary}\n`);
  if (options.markdown) {
    console.log(`${benchmark.markdown(all)}\n\n${benchmark.legend(environment)}\n`);
  }
  const file = save(benchmark.results, environment, all);
  console.log(`${Math.round((performance.now() - began) / 1000)} s. Raw results: ${file}`);
  process.exit(0);
}

/**
 * Milliseconds of load for a server that is slow to warm up: at least and at most, in its first
 * scenario and in a later one. Its first windows may agree long before its compiler begins.
 */
const fullWarmUps = {
  first: { shortest: 40_000, longest: 90_000 },
  later: { shortest: 15_000, longest: 45_000 },
};
const quickWarmUps = {
  first: { shortest: 0, longest: 10_000 },
  later: { shortest: 0, longest: 7_000 },
};

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

function chooseRivals({ listRivals, aspnet }, options) {
  const halyard = options.halyard && pathToFileURL(resolve(options.halyard)).href;
  const profiles = options.profile && resolve(options.profile);
  const known = listRivals({
    node: options.node,
    ...(halyard && { halyard }),
    ...(profiles && { profiles }),
  });
  const names = options.servers?.split(",");
  const isMeant = (name) => (rival) => rival.name === name || rival.family === name;
  for (const name of names ?? []) {
    if (!known.some(isMeant(name))) {
      stop(`There is no server ${name}, only ${known.map((rival) => rival.name).join(", ")}.`);
    }
  }
  let built;
  return known.filter((rival) => {
    if (names === undefined ? rival.isExtra : !names.some((name) => isMeant(name)(rival))) {
      return false;
    }
    let { missing } = rival;
    if (missing === undefined && rival.name.startsWith("aspnet") && !options.list) {
      built ??= { failure: buildAspnet(aspnet) };
      missing = built.failure;
    }
    if (missing !== undefined) console.log(`${rival.name} is left out: ${missing}.`);
    return missing === undefined;
  });
}

function chooseScenarios({ scenarios }, options) {
  if (options.only === undefined) return scenarios;
  return options.only.split(",").flatMap((pattern) => {
    const found = scenarios.filter(({ name }) =>
      pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
    );
    if (found.length === 0) stop(`There is no scenario ${pattern}; see --list.`);
    return found;
  });
}

function chooseGenerator(script, which) {
  const bun = which === "node" ? undefined : findBun();
  if (bun !== undefined) return { name: "Bun", command: [bun, script] };
  if (which === "bun") stop("Bun is not installed.");
  return { name: "Node", command: [process.execPath, script] };
}

function version(command) {
  return spawnSync(command, ["--version"]).stdout?.toString().trim();
}

function versions(rivals) {
  const { stdout } = spawnSync("npm", ["ls", "--json", "--prefix", folder]);
  const { dependencies = {} } = JSON.parse(String(stdout) || "{}");
  const packages = Object.entries(dependencies).map(([name, { version: is }]) => [name, is]);
  const dotnet = rivals.some(({ name }) => name.startsWith("aspnet")) && {
    dotnet: version("dotnet"),
  };
  return { ...Object.fromEntries(packages), ...dotnet };
}

function printProfiles(profiles, scenario, results) {
  for (const name of results.keys()) {
    const file = join(resolve(profiles), `${scenario.name}-${name}.cpuprofile`);
    if (existsSync(file)) console.log(`${scenario.name}, ${name}:\n${hottest(file)}\n`);
  }
}

/** Written after every scenario: a run that is broken off leaves what it has. */
function save(prefix, environment, all) {
  const results = all.map(({ scenario, results: measured }) => ({
    scenario: scenario.name,
    servers: Object.fromEntries(measured),
  }));
  mkdirSync(join(folder, "results"), { recursive: true });
  const name = `${prefix}${environment.date.replaceAll(":", "-")}.json`;
  const file = join(folder, "results", name);
  writeFileSync(file, `${JSON.stringify({ environment, results }, null, 2)}\n`);
  return file;
}
