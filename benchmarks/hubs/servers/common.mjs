// What the hub servers on Node have in common: besides what all servers do, they tell their heap.

import process from "node:process";
import { createInterface } from "node:readline";

export { listen } from "../../servers/common.mjs";

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line !== "heap") return;
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  console.log(`heap ${heapUsed + arrayBuffers}`);
});
