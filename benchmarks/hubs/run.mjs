// Hubs: the same way of measuring as ../run.mjs, with other servers and other messages.

import { main } from "../lib/command.mjs";
import { scenarios } from "./lib/scenarios.mjs";
import { listRivals } from "./lib/servers.mjs";
import { goalsTable, legend, markdownTable, scenarioBlock } from "./lib/tables.mjs";

await main({
  entry: "benchmarks/hubs/run.mjs",
  onNode: "halyard, Socket.IO and the bare hub",
  generator: "hubs/generator/main.mjs",
  aspnet: "hubs/servers/aspnet",
  results: "hubs-",
  scenarios,
  listRivals,
  block: scenarioBlock,
  summary: goalsTable,
  markdown: markdownTable,
  legend,
});
