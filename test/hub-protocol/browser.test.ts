import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

describe("hub-protocol in a browser", () => {
  it("compiles with the DOM's types and without Node's", () => {
    const compiler = spawnSync(
      process.execPath,
      ["node_modules/typescript/bin/tsc", "-p", "src/hub-protocol", "--pretty", "false"],
      { encoding: "utf8", timeout: 60_000 },
    );
    assert.equal(compiler.stdout, "");
    assert.equal(compiler.status, 0, compiler.stderr);
  });
});
