import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  allTransports,
  chooseNegotiateVersion,
  encodeNegotiateError,
  encodeNegotiateRedirect,
  encodeNegotiateResponse,
} from "#dist/hub-protocol/negotiate.js";

const ids = { connectionId: "public", connectionToken: "secret" };
const transports =
  '"availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]},' +
  '{"transport":"ServerSentEvents","transferFormats":["Text"]},' +
  '{"transport":"LongPolling","transferFormats":["Text","Binary"]}]';

describe("negotiate response", () => {
  const base = { ...ids, availableTransports: allTransports };
  const rows = [
    {
      name: "version 1",
      value: { ...base, version: 1 },
      body: `{"negotiateVersion":1,"connectionId":"public","connectionToken":"secret",${transports}}`,
    },
    {
      name: "version 0, without token",
      value: { ...base, version: 0 },
      body: `{"negotiateVersion":0,"connectionId":"public",${transports}}`,
    },
    {
      name: "stateful reconnect and a lifetime",
      value: { ...base, version: 1, useStatefulReconnect: true, tokenLifetimeSeconds: 60 },
      body: `{"useStatefulReconnect":true,"negotiateVersion":1,"connectionId":"public","connectionToken":"secret","tokenLifetimeSeconds":60,${transports}}`,
    },
    {
      name: "no stateful reconnect, one transport",
      value: {
        ...base,
        version: 1,
        useStatefulReconnect: false,
        availableTransports: allTransports.slice(1, 2),
      },
      body: '{"negotiateVersion":1,"connectionId":"public","connectionToken":"secret","availableTransports":[{"transport":"ServerSentEvents","transferFormats":["Text"]}]}',
    },
  ];
  for (const { name, value, body } of rows) {
    it(`has its properties in order: ${name}`, () => {
      assert.equal(encodeNegotiateResponse(value), body);
    });
  }

  it("sends elsewhere", () => {
    assert.equal(
      encodeNegotiateRedirect({ url: "https://other/x?y=1", accessToken: "t" }, 1),
      '{"negotiateVersion":1,"url":"https://other/x?y=1","accessToken":"t","availableTransports":[]}',
    );
    assert.equal(
      encodeNegotiateRedirect({ url: "https://other/" }),
      '{"negotiateVersion":0,"url":"https://other/","availableTransports":[]}',
    );
  });

  it("is an error", () => {
    assert.equal(encodeNegotiateError('It\'s "x"'), '{"error":"It\'s \\"x\\""}');
  });
});

describe("negotiate version", () => {
  const noInteger = '{"error":"The client requested a non-integer protocol version."}';
  const tooLow = (version: number) =>
    `{"error":"The client requested version '${version}', but the server does not support this version."}`;
  const rows: [requested: string | null | undefined, minimum: number, result: number | string][] = [
    [undefined, 0, 0],
    [null, 0, 0],
    ["0", 0, 0],
    ["1", 0, 1],
    ["2", 0, 1],
    ["2147483647", 0, 1],
    [" +1 ", 0, 1],
    ["1", 1, 1],
    ["0", 1, tooLow(0)],
    [null, 1, tooLow(0)],
    ["-1", 0, tooLow(-1)],
    ["-2147483648", 0, tooLow(-2147483648)],
    ["", 0, noInteger],
    ["x", 0, noInteger],
    ["1.0", 0, noInteger],
    ["1e0", 0, noInteger],
    ["0x1", 0, noInteger],
    ["2147483648", 0, noInteger],
    ["9".repeat(400), 0, noInteger],
  ];
  for (const [requested, minimum, result] of rows) {
    it(`${String(requested).slice(0, 20)} where ${minimum} is the lowest`, () => {
      assert.equal(chooseNegotiateVersion(requested, minimum), result);
    });
  }
});
