// What a CPU profile says, in a few lines.

import { readFileSync } from "node:fs";

/**
 * The functions in which a process spent most of its time, callees not counted.
 *
 * @param {string} file - A .cpuprofile.
 * @param {number} [count]
 */
export function hottest(file, count = 20) {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8"));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const times = new Map();
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    if (functionName === "(idle)") continue;
    const name = functionName || "(anonymous)";
    const place = url ? ` ${url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, "")}:${lineNumber + 1}` : "";
    times.set(name + place, (times.get(name + place) ?? 0) + timeDeltas[index]);
    busy += timeDeltas[index];
  }
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, time]) => `  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`)
    .join("\n");
}
