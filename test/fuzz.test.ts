import { randomInt } from "node:crypto";
import process from "node:process";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fuzzBytes } from "../fuzz/bytes.js";
import { properties } from "../fuzz/properties.js";

/** `FUZZ_SEED` repeats a run. */
const seed = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31));
console.log(`FUZZ_SEED=${seed}`);

describe(`properties, FUZZ_SEED=${seed}`, () => {
  for (const { name, runs, time = 5_000, property } of properties) {
    it(name, async () => {
      // A machine that is busy makes fewer runs, not a failure.
      await fc.assert(property, { seed, numRuns: runs, interruptAfterTimeLimit: time });
    });
  }
});

it(`bytes from a stranger, FUZZ_SEED=${seed}`, async () => {
  await fuzzBytes({ seed, milliseconds: 4_000 });
});
