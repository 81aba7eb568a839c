import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readRequestHead } from "#dist/protocol/request-head.js";

const fields = [
  "Host: localhost",
  "Connection: keep-alive, Upgrade",
  "upgrade: WebSocket",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "X-Own:   caf\xe9\t1",
  "X-Empty:",
];
const headOf = (lines: readonly string[], requestLine = "GET /a?b HTTP/1.1") =>
  Buffer.from(`${[requestLine, ...lines].join("\r\n")}\r\n\r\n`, "latin1");
const read = (chunk: Buffer, maxSize = 8192) => readRequestHead(chunk, chunk.length, maxSize);

describe("readRequestHead", () => {
  const head = headOf(fields);

  it("reads a plain request for a WebSocket", () => {
    const { rawHeaders = [], ...rest } = read(Buffer.concat([head, Buffer.from("more")])) ?? {};
    assert.deepEqual(
      rawHeaders,
      fields.flatMap((line) => [
        line.slice(0, line.indexOf(":")),
        line.slice(line.indexOf(":") + 1).replace(/^ +/, ""),
      ]),
    );
    assert.deepEqual(rest, {
      method: "GET",
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      url: "/a?b",
      size: head.length,
      headers: {
        connection: "keep-alive, Upgrade",
        upgrade: "WebSocket",
        origin: undefined,
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": undefined,
        "sec-websocket-extensions": undefined,
      },
    });
  });

  it("says nothing of a part of it, nor of one that is too long", () => {
    for (let end = 0; end < head.length; end++) {
      assert.equal(readRequestHead(head, end, 8192), undefined);
      assert.equal(read(head, end), undefined);
    }
    assert.ok(read(head, head.length));
  });

  it("says nothing of a head with a byte that does not belong there", () => {
    for (const byte of [0, 10, 13, 127]) {
      for (let index = 0; index < head.length; index++) {
        const changed = Buffer.from(head);
        changed[index] = byte;
        if (!changed.equals(head)) assert.equal(read(changed), undefined, `${byte} at ${index}`);
      }
    }
  });

  const others: readonly { name: string; chunk: Buffer }[] = [
    { name: "another method", chunk: headOf(fields, "PUT /a HTTP/1.1") },
    { name: "another version", chunk: headOf(fields, "GET /a HTTP/1.0") },
    { name: "a whole URL", chunk: headOf(fields, "GET http://a/ HTTP/1.1") },
    { name: "a fragment", chunk: headOf(fields, "GET /a#b HTTP/1.1") },
    { name: "a target beyond ASCII", chunk: headOf(fields, "GET /\xe9 HTTP/1.1") },
    { name: "a folded line", chunk: headOf([...fields, "X-A: 1", " 2"]) },
    { name: "a blank before a colon", chunk: headOf([...fields, "X-A : 1"]) },
    { name: "a blank behind a value", chunk: headOf([...fields, "X-A: 1 "]) },
    { name: "a tab before a value", chunk: headOf([...fields, "X-A:\t1"]) },
    { name: "a line without a colon", chunk: headOf([...fields, "X-A"]) },
    { name: "a body", chunk: headOf([...fields, "content-length: 0"]) },
    { name: "chunks", chunk: headOf([...fields, "Transfer-Encoding: chunked"]) },
    { name: "two keys", chunk: headOf([...fields, "sec-websocket-key: a"]) },
    { name: "two origins", chunk: headOf([...fields, "Origin: a", "ORIGIN: b"]) },
    { name: "another Upgrade", chunk: headOf(fields.with(2, "Upgrade: h2c")) },
    { name: "a list of upgrades", chunk: headOf(fields.with(2, "Upgrade: websocket, h2c")) },
    { name: "another Connection", chunk: headOf(fields.with(1, "Connection: close, upgrade")) },
    { name: "no Connection", chunk: headOf(fields.toSpliced(1, 1)) },
    { name: "65 lines", chunk: headOf([...fields, ...Array(58).fill("X-A: 1")]) },
  ];
  for (const { name, chunk } of others) {
    it(`says nothing of a request with ${name}`, () => assert.equal(read(chunk), undefined));
  }

  it("reads 64 lines", () => {
    assert.equal(read(headOf([...fields, ...Array(57).fill("X-A: 1")]))?.rawHeaders.length, 128);
  });
});
