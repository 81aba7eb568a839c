import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ConnectionClosedError,
  HubError,
  HubMessageTooBigError,
  HubProtocolError,
  InvalidStateError,
} from "#dist/errors.js";
import { errorText, InvalidDataException } from "#dist/hub/error-text.js";

class OwnError extends Error {
  override name = "OwnError";
}
class RoomFullError extends HubError {}

const rows: [error: unknown, detail: string, always?: true][] = [
  [new HubError("text"), "HubException: text", true],
  [new RoomFullError("text"), "HubException: text", true],
  [new Error("text"), "Error: text"],
  [new RangeError("text"), "RangeError: text"],
  [new OwnError("text"), "OwnError: text"],
  [new InvalidDataException("text"), "InvalidDataException: text"],
  [new HubProtocolError("text"), "InvalidDataException: text"],
  [new HubMessageTooBigError(7), `InvalidDataException: ${new HubMessageTooBigError(7).message}`],
  [new InvalidStateError("ERR", "text"), "InvalidOperationException: text"],
  [new ConnectionClosedError("ERR", "text"), "IOException: text"],
  [new ConnectionClosedError("ERR_CLIENT_TIMEOUT", "text"), "OperationCanceledException: text"],
  ["text", "Error: text"],
  [undefined, "Error: undefined"],
  [Symbol("text"), "Error: Symbol(text)"],
];

describe("error texts", () => {
  for (const [error, detail, always] of rows) {
    it(`of ${String(error)}`, () => {
      assert.equal(errorText("Base.", error, true), `Base. ${detail}`);
      assert.equal(errorText("Base.", error, false), always ? `Base. ${detail}` : "Base.");
    });
  }

  it("of what cannot be told are general", () => {
    const nameless = Object.create(null);
    const hostile = Object.defineProperty(new Error("x"), "message", {
      get() {
        throw new Error("message");
      },
    });
    for (const error of [nameless, hostile]) assert.equal(errorText("Base.", error, true), "Base.");
  });
});
