// The one command: starts servers and generators, measures, prints.

import { main } from "./lib/command.mjs";
import { scenarios } from "./lib/scenarios.mjs";
import { listRivals } from "./lib/servers.mjs";
import { goalsTable, legend, markdownTable, scenarioBlock } from "./lib/tables.mjs";

await main({
  entry: "benchmarks/run.mjs",
  onNode: "halyard, ws and the floor",
  generator: "generator/main.mjs",
  aspnet: "servers/aspnet",
  results: "",
  scenarios,
  listRivals,
  block: scenarioBlock,
  summary: goalsTable,
  markdown: markdownTable,
  legend,
});
