import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeEvent } from "#dist/transports/server-sent-events.js";
import { describeTransport } from "../specs/transport-suite.js";

describe("encodeEvent", () => {
  const rows: [string, string][] = [
    ["Hello", "data: Hello\r\n\r\n"],
    ["Hello\nWorld", "data: Hello\r\ndata: World\r\n\r\n"],
    ["Hello\r\nWorld", "data: Hello\r\ndata: World\r\n\r\n"],
    ["Hello\n", "data: Hello\r\ndata: \r\n\r\n"],
    ["\n", "data: \r\ndata: \r\n\r\n"],
    ["\r\n", "data: \r\r\ndata: \r\n\r\n"],
    ["a\rb", "data: a\rb\r\n\r\n"],
    ["a\r", "data: a\r\r\n\r\n"],
    ["", "\r\n"],
  ];
  for (const [payload, expected] of rows) {
    it(`writes ${JSON.stringify(payload)}`, () => {
      const bytes = Buffer.from(`..${payload}\n..`);
      const event = encodeEvent(bytes, 2, bytes.length - 3);
      assert.equal(event.toString(), expected);
    });
  }
});

describeTransport("ServerSentEvents");
