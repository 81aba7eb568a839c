// What a CPU profile says, in a few lines.

import { readFileSync } from "node:fs";
import { median } from "./statistics.mjs";

/**
 * The functions in which a process spent most of its time, callees not counted. Time in which it had
 * to wait for the CPU ends in a long interval, which says nothing about the function it is booked to.
 *
 * @param {string} file - A .cpuprofile.
 * @param {number} [count]
 */
export function hottest(file, count = 20) {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8"));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const longest = 2 * median(timeDeltas);
  const times = new Map();
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    if (functionName === "(idle)") continue;
    const name = functionName || "(anonymous)";
    const place = url ? ` ${url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, "")}:${lineNumber + 1}` : "";
    const time = Math.min(timeDeltas[index], longest);
    times.set(name + place, (times.get(name + place) ?? 0) + time);
    busy += time;
  }
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, time]) => `  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`)
    .join("\n");
}
