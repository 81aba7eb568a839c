import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Hub } from "#dist/hub/index.js";
import { connectionEndpoint, hubEndpoint } from "#dist/transports/mapped.js";

class QuietHub extends Hub {}

describe("options of a mapped path", () => {
  it("takes those of hubs and of connections", () => {
    hubEndpoint("/hub", QuietHub, { keepAliveInterval: 1_000, disconnectTimeout: 1_000 });
    connectionEndpoint("/raw", async () => {}, { disconnectTimeout: 1_000 });
  });

  it("refuses a name that there is not, which would leave a default in force", () => {
    const misspelt = { protocols: [] } as object;
    assert.throws(
      () => hubEndpoint("/hub", QuietHub, misspelt),
      /^TypeError: .*no option protocols/,
    );
    const ofHubs = { keepAliveInterval: 1_000 } as object;
    assert.throws(
      () => connectionEndpoint("/raw", async () => {}, ofHubs),
      /^TypeError: .*no option keepAliveInterval/,
    );
  });
});
