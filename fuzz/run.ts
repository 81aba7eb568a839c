import { randomInt } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import fc from "fast-check";
import { fuzzBytes } from "./bytes.js";
import { properties } from "./properties.js";

const usage = `Usage: node build/fuzz/run.js [options]

  --minutes <n>   how long to look for failures (default 10)
  --seed <n>      where to begin (default: by chance; it is printed)
  --only <text>   properties whose name contains this, or "bytes"
`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    only: { type: "string", default: "" },
  },
});
const minutes = Number(values.minutes);
const first = Number(values.seed ?? randomInt(2 ** 31));
if (!(minutes > 0) || !Number.isInteger(first)) {
  process.stderr.write(usage);
  process.exit(2);
}

const { only } = values;
const chosen = properties.filter(({ name }) => name.includes(only));
const withBytes = "bytes".includes(only);
const end = performance.now() + minutes * 60_000;
/** Each gets so much at a time, in turn, so that none waits for the end. */
const turn = Math.min(20_000, (minutes * 60_000) / (chosen.length + 1));
const runs = new Map<string, number>();
let failures = 0;

for (let seed = first; performance.now() < end; seed++) {
  for (const { name, property } of chosen) {
    const { failed, numRuns, counterexample, counterexamplePath, errorInstance } = await fc.check(
      property,
      { seed, numRuns: 1_000_000, interruptAfterTimeLimit: turn, markInterruptAsFailure: false },
    );
    runs.set(name, (runs.get(name) ?? 0) + numRuns);
    if (!failed) continue;
    failures++;
    console.log(`FAIL  ${name}\n  seed ${seed}, path ${counterexamplePath}`);
    console.log(`  ${fc.stringify(counterexample)}\n  ${(errorInstance as Error).stack}`);
  }
  if (!withBytes) continue;
  try {
    const { played, kinds } = await fuzzBytes({ seed, milliseconds: turn });
    runs.set("bytes", (runs.get("bytes") ?? 0) + played);
    console.log(`seed ${seed}: ${played} inputs of ${kinds} kinds`);
  } catch (error) {
    failures++;
    console.log(`FAIL  bytes, seed ${seed}\n  ${(error as Error).stack}`);
  }
}
for (const [name, count] of runs) console.log(`${String(count).padStart(9)}  ${name}`);
console.log(`${failures} failures; the first seed was ${first}`);
process.exitCode = failures === 0 && runs.size > 0 ? 0 : 1;
