import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HandshakeError } from "halyard";
import {
  acceptHeaders,
  acceptKey,
  asksForWebSocket,
  checkHandshake,
  type HandshakeRequest,
  offeredSubprotocols,
} from "#dist/protocol/handshake.js";

const key = "dGhlIHNhbXBsZSBub25jZQ==";
const headers: HandshakeRequest["headers"] = {
  host: "localhost",
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-key": key,
  "sec-websocket-version": "13",
};
const request: HandshakeRequest = {
  method: "GET",
  httpVersionMajor: 1,
  httpVersionMinor: 1,
  headers,
};

type Change = Partial<Omit<HandshakeRequest, "headers">> & {
  headers?: HandshakeRequest["headers"];
};
const changed = ({ headers: others, ...rest }: Change): HandshakeRequest => ({
  ...request,
  ...rest,
  headers: { ...headers, ...others },
});

const accepted: { name: string; change: Change }[] = [
  { name: "the plain request", change: {} },
  { name: "Upgrade in other letters", change: { headers: { upgrade: "WebSocket" } } },
  { name: "Upgrade as a list", change: { headers: { upgrade: "h2c, websocket" } } },
  { name: "Connection as a list", change: { headers: { connection: "keep-alive, UPGRADE" } } },
  { name: "HTTP/2.0", change: { httpVersionMajor: 2, httpVersionMinor: 0 } },
  {
    name: "several versions, ours among them",
    change: { headers: { "sec-websocket-version": "8, 13" } },
  },
  { name: "an empty body", change: { headers: { "content-length": "0" } } },
  { name: "subprotocols", change: { headers: { "sec-websocket-protocol": "chat, superchat" } } },
  // The example of RFC 6455 §4.1 item 7 itself has bits behind its 128.
  {
    name: "a key with left-over bits",
    change: { headers: { "sec-websocket-key": "AQIDBAUGBwgJCgsMDQ4PEC==" } },
  },
];

const keyRows = [
  { name: "missing", value: undefined },
  { name: "empty", value: "" },
  { name: "of 15 bytes", value: Buffer.alloc(15, 7).toString("base64") },
  { name: "of 17 bytes", value: Buffer.alloc(17, 7).toString("base64") },
  { name: "of 18 bytes, 24 characters long", value: Buffer.alloc(18, 7).toString("base64") },
  { name: "without padding", value: key.slice(0, 22) },
  { name: "with one sign of padding", value: `${key.slice(0, 22)}A=` },
  { name: "with padding in the middle", value: `${key.slice(0, 10)}==${key.slice(10, 20)}==` },
  { name: "with a space", value: `dGhlIHNhbXBsZS Bub25jZ==` },
  { name: "in the alphabet of URLs", value: "-_hlIHNhbXBsZSBub25jZQ==" },
  { name: "with '-' as its last character", value: `${key.slice(0, 21)}-==` },
  { name: "with '_' as its last character", value: `${key.slice(0, 21)}_==` },
  { name: "with a sign that is no base64 as its last character", value: `${key.slice(0, 21)}!==` },
  { name: "with letters beyond ASCII", value: `é${key.slice(1)}` },
  { name: "twice", value: `${key}, ${key}` },
  { name: "as a list", value: [key, key] },
];

const refused: { name: string; change: Change; code: string; status?: number }[] = [
  ...["POST", "get", "CONNECT", undefined].map((method) => ({
    name: `method ${method}`,
    change: { method },
    code: "ERR_HANDSHAKE_METHOD",
  })),
  {
    name: "HTTP/1.0",
    change: { httpVersionMinor: 0 },
    code: "ERR_HANDSHAKE_HTTP_VERSION",
  },
  {
    name: "HTTP/0.9",
    change: { httpVersionMajor: 0, httpVersionMinor: 9 },
    code: "ERR_HANDSHAKE_HTTP_VERSION",
  },
  ...[undefined, "", "h2c", "websockets", "web socket"].map((upgrade) => ({
    name: `Upgrade: ${upgrade}`,
    change: { headers: { upgrade } },
    code: "ERR_HANDSHAKE_UPGRADE",
  })),
  ...[undefined, "", "keep-alive", "upgraded"].map((connection) => ({
    name: `Connection: ${connection}`,
    change: { headers: { connection } },
    code: "ERR_HANDSHAKE_CONNECTION",
  })),
  ...[{ "content-length": "5" }, { "content-length": "x" }, { "transfer-encoding": "chunked" }].map(
    (body) => ({
      name: `a body: ${JSON.stringify(body)}`,
      change: { headers: body },
      code: "ERR_HANDSHAKE_BODY",
    }),
  ),
  ...[undefined, "", " , "].map((version) => ({
    name: `version ${version}`,
    change: { headers: { "sec-websocket-version": version } },
    code: "ERR_HANDSHAKE_VERSION",
  })),
  ...["8", "0", "14", "013", "13.0", "7, 8"].map((version) => ({
    name: `version ${version}`,
    change: { headers: { "sec-websocket-version": version } },
    code: "ERR_HANDSHAKE_VERSION",
    status: 426,
  })),
  ...keyRows.map(({ name, value }) => ({
    name: `key ${name}`,
    change: { headers: { "sec-websocket-key": value } },
    code: "ERR_HANDSHAKE_KEY",
  })),
  ...["a b", "chat, b@d", "é", "x;y", Array(101).fill("chat").join()].map((protocols) => ({
    name: `subprotocols ${protocols.slice(0, 20)}`,
    change: { headers: { "sec-websocket-protocol": protocols } },
    code: "ERR_HANDSHAKE_SUBPROTOCOL",
  })),
];

describe("checkHandshake (RFC 6455 §4.2.1)", () => {
  for (const { name, change } of accepted) {
    it(`accepts ${name}`, () => checkHandshake(changed(change)));
  }

  for (const { name, change, code, status = 400 } of refused) {
    it(`refuses ${name} with ${status}`, () => {
      assert.throws(
        () => checkHandshake(changed(change)),
        (error) => {
          assert.ok(error instanceof HandshakeError);
          assert.equal(error.code, code);
          assert.equal(error.status, status);
          assert.notEqual(error.message, "");
          return true;
        },
      );
    });
  }

  it("names version 13 and the protocol in a 426 (§4.4)", () => {
    assert.throws(() => checkHandshake(changed({ headers: { "sec-websocket-version": "12" } })), {
      headers: { "Sec-WebSocket-Version": "13", Upgrade: "websocket" },
    });
  });

  it("needs no header at all to say no", () => {
    assert.throws(() => checkHandshake({ ...request, headers: {} }), HandshakeError);
  });
});

describe("the answer", () => {
  it("proves that the key was read (§1.3)", () => {
    assert.equal(acceptKey(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  });

  it("has subprotocol and extension only if there is one", () => {
    const plain = {
      Upgrade: "websocket",
      Connection: "Upgrade",
      "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    };
    assert.deepEqual(acceptHeaders(request, undefined, undefined), plain);
    assert.deepEqual(acceptHeaders(request, "chat", "permessage-deflate"), {
      ...plain,
      "Sec-WebSocket-Protocol": "chat",
      "Sec-WebSocket-Extensions": "permessage-deflate",
    });
  });
});

describe("asksForWebSocket", () => {
  it("looks at Upgrade alone, so that a malformed request is one too", () => {
    assert.equal(asksForWebSocket({ ...request, headers: { upgrade: "WEBSOCKET" } }), true);
    assert.equal(asksForWebSocket({ ...request, headers: {} }), false);
    assert.equal(asksForWebSocket({ ...request, headers: { upgrade: "h2c" } }), false);
  });
});

describe("offeredSubprotocols", () => {
  it("keeps the order of preference", () => {
    const offered = changed({ headers: { "sec-websocket-protocol": "b, a,c" } });
    assert.deepEqual(offeredSubprotocols(offered), ["b", "a", "c"]);
    assert.deepEqual(offeredSubprotocols(request), []);
  });
});
