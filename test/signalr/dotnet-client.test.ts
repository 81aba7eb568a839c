/**
 * Microsoft's .NET client against Halyard, and against ASP.NET Core, which proves its checks. Only
 * this is left out where C# can't be built.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { once, withTimeout } from "../support/network.js";
import { startApp } from "./app.js";
import { build, startOracle, Unavailable } from "./dotnet.js";
import type { Target } from "./suite/case.js";

/** How many checks there are: fewer would mean that the program had ended early. */
const checks = 23 * 5 + 2 * 2 + 3;

interface Outcome {
  readonly check: string;
  readonly failure: string | null;
}

/** What the program says of a server. */
async function runChecks(program: string, baseUrl: string): Promise<Outcome[]> {
  const child = spawn("dotnet", [program, baseUrl], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit", 150_000);
  const outcomes: Outcome[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      outcomes.push(JSON.parse(line));
    }
    assert.deepEqual(await withTimeout(exited), [0, null]);
  } finally {
    child.kill();
  }
  return outcomes;
}

function suite(program: string, name: string, start: () => Promise<Target>): void {
  describe(`the .NET client on ${name}`, () => {
    let target: Target;
    before(async () => {
      target = await start();
    });
    after(() => target?.stop());

    it("finds what it expects", async (context) => {
      const outcomes = await runChecks(program, target.baseUrl);
      assert.equal(outcomes.length, checks);
      for (const { check, failure } of outcomes) {
        await context.test(check, () => {
          if (failure !== null) assert.fail(failure);
        });
      }
    });
  });
}

try {
  const program = await build("DotnetClient", "dotnet-client");
  await build("Oracle", "oracle");
  suite(program, "ASP.NET Core", startOracle);
  suite(program, "Halyard", startApp);
} catch (error) {
  if (!(error instanceof Unavailable)) throw error;
  console.log(`Left out: Microsoft's .NET client, because ${error.message}.`);
}
