import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HubMessageTooBigError, HubProtocolError } from "#dist/errors.js";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import {
  encodeHandshakeRequest,
  encodeHandshakeResponse,
  handshakeErrors,
  parseHandshakeRequest,
  parseHandshakeResponse,
} from "#dist/hub-protocol/handshake.js";
import { inputOf, record } from "./support.js";

function written(write: (out: ByteWriter) => void): string {
  const out = new ByteWriter();
  write(out);
  return Buffer.from(out.bytes.subarray(0, out.length)).toString();
}

describe("handshake request", () => {
  const rows = [
    {
      name: "json",
      text: '{"protocol":"json","version":1}',
      value: { protocol: "json", version: 1 },
    },
    {
      name: "messagepack for stateful reconnect",
      text: '{"protocol":"messagepack","version":2}',
      value: { protocol: "messagepack", version: 2 },
    },
    {
      name: "a name to be escaped",
      text: '{"protocol":"a\\"é","version":-1}',
      value: { protocol: 'a"é', version: -1 },
    },
  ];
  for (const { name, text, value } of rows) {
    it(`is the same both ways, cut anywhere: ${name}`, () => {
      assert.equal(
        written((out) => encodeHandshakeRequest(value, out)),
        `${text}\x1e`,
      );
      const input = inputOf(record(text));
      const { at, end } = input;
      for (input.end = at; input.end < end; input.end++) {
        assert.equal(parseHandshakeRequest(input, end - at), undefined);
        assert.equal(input.at, at);
      }
      assert.deepEqual(parseHandshakeRequest(input, end - at), value);
      assert.equal(input.at, end);
    });
  }

  it("may have its properties in any order, others besides, and hub messages behind it", () => {
    const text =
      ' {"x":{"protocol":"no"}, "version" :2,\t"protocol":"JSON","y":[1]} x\x1e{"type":6}\x1e';
    const input = inputOf(Buffer.from(text));
    assert.deepEqual(parseHandshakeRequest(input, 1000), { protocol: "JSON", version: 2 });
    assert.equal(input.end - input.at, 11);
  });

  const bad = [
    { text: "", message: "Error reading JSON." },
    { text: "{", message: "Error reading JSON." },
    { text: '{"protocol":"json"', message: "Error reading JSON." },
    { text: '{"protocol":"json","version":}', message: "Error reading JSON." },
    { text: "[]", message: "Unexpected JSON Token Type 'Array'. Expected a JSON Object." },
    { text: "null", message: "Unexpected JSON Token Type 'Null'. Expected a JSON Object." },
    {
      text: '{"version":1}',
      message: "Missing required property 'protocol'. Message content: {\"version\":1}",
    },
    {
      text: '{"protocol":"json"}',
      message: 'Missing required property \'version\'. Message content: {"protocol":"json"}',
    },
    { text: '{"protocol":null,"version":1}', message: "Expected 'protocol' to be of type String." },
    { text: '{"protocol":1,"version":1}', message: "Expected 'protocol' to be of type String." },
    {
      text: '{"protocol":"json","version":"1"}',
      message: "Expected 'version' to be of type Number.",
    },
    {
      text: '{"protocol":"json","version":1.0}',
      message:
        "Either the JSON value is not in a supported format, or is out of bounds for an Int32.",
    },
  ];
  for (const { text, message } of bad) {
    it(`is refused: ${text}`, () => {
      assert.throws(() => parseHandshakeRequest(inputOf(record(text)), 1000), {
        name: "HubProtocolError",
        message,
      });
    });
  }

  it("may not be larger than a message", () => {
    const bytes = record('{"protocol":"json","version":1}');
    assert.ok(parseHandshakeRequest(inputOf(bytes), bytes.length));
    assert.throws(
      () => parseHandshakeRequest(inputOf(bytes), bytes.length - 1),
      HubMessageTooBigError,
    );
    assert.throws(
      () => parseHandshakeRequest(inputOf(Buffer.alloc(101, "{")), 100),
      HubMessageTooBigError,
    );
  });
});

describe("handshake response", () => {
  const rows = [
    { name: "good", text: "{}", error: undefined },
    { name: "refusal", text: '{"error":"no \\"x\\""}', error: 'no "x"' },
  ];
  for (const { name, text, error } of rows) {
    it(`is the same both ways: ${name}`, () => {
      assert.equal(
        written((out) => encodeHandshakeResponse(error, out)),
        `${text}\x1e`,
      );
      const input = inputOf(Buffer.from(`${text}\x1e{"type":6}\x1e`));
      assert.deepEqual(parseHandshakeResponse(input, 1000), { error });
      assert.equal(input.end - input.at, 11);
    });
  }

  it("is waited for", () => {
    assert.equal(parseHandshakeResponse(inputOf(Buffer.from("{}")), 1000), undefined);
  });

  it("is told from a hub message", () => {
    assert.throws(() => parseHandshakeResponse(inputOf(record('{"type":6}')), 1000), {
      message: "Expected a handshake response from the server.",
    });
    assert.throws(() => parseHandshakeResponse(inputOf(record("x")), 1000), HubProtocolError);
  });

  it("refuses in ASP.NET Core's words", () => {
    const { protocol, version, transferFormat } = handshakeErrors;
    assert.equal(protocol("x'y"), "The protocol 'x'y' is not supported.");
    assert.equal(
      version(3, "json"),
      "The server does not support version 3 of the 'json' protocol.",
    );
    assert.equal(
      transferFormat("messagepack", "Binary"),
      "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.",
    );
    assert.equal(handshakeErrors.canceled, "Handshake was canceled.");
    assert.equal(
      handshakeErrors.unexpected,
      "An unexpected error occurred during connection handshake.",
    );
  });
});
