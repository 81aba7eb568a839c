import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { compose, handleUpgrades } from "halyard";
import { Hub, mapHub } from "halyard/hub";
import { Lines } from "../test/support/fake-connection.js";
import { listen, stop, withTimeout } from "../test/support/network.js";
import type { Property } from "./properties.js";

/** What the documentation of connections names, and what node:http and WebSockets add. */
const documented = [
  101, 200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 414, 417, 426, 429, 431, 501, 503,
];

class EchoHub extends Hub {
  echo(value: unknown) {
    return value;
  }
}

/** A place that a name of something from an earlier answer is put in. */
const token = "<token>";

const paths = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom("/hub", "/hub/negotiate", "/hub", "/hub/", "/hub/refresh"),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "/hub//negotiate",
      "/hub/negotiate/",
      "/HUB/negotiate",
      "/hub/%6eegotiate",
      "/hubx",
      "/hub/../hub",
      "//hub",
      "http://other.example/hub/negotiate",
      "http://[/hub",
      "*",
      "hub",
      "/hub#a",
      "/%",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 20 }).map((text) => `/hub/${text}`),
  },
);

/** Stands for what would make a failure unreadable. */
const long = "(17 000 letters)";

const parameters = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(`id=${token}`, `ID=${token}`) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      "negotiateVersion=1",
      "negotiateVersion=0",
      "negotiateVersion=-1",
      "negotiateVersion=99999999999999999999",
      "negotiateVersion=1&NegotiateVersion=1",
      "negotiateVersion=%31",
      "useStatefulReconnect=true",
      "useStatefulReconnect=%00",
      "access_token=good",
      "access_token=throws",
      "access_token=bad",
      "id=",
      "id=__proto__",
      `id=${long}`,
      "id=%ff%fe",
      "id=%",
      `id=${token}&id=${token}`,
      "&&==&",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.webQueryParameters(),
  },
);

const fields = fc.constantFrom(
  "Accept: text/event-stream",
  "Accept: text/event-stream;q=0, */*",
  "Accept: ,,;;",
  "Connection: Upgrade",
  "Connection: keep-alive, Upgrade",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Version: 12",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Key: x",
  "Sec-WebSocket-Protocol: ,",
  "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
  "Origin: https://other.example",
  "Origin: null",
  "Origin: \xff",
  "Authorization: Bearer good",
  "Authorization: Bearer bad",
  "Authorization: Bearer throws",
  "Authorization: Bearer",
  "Authorization: Basic eDp5",
  "Content-Type: application/json",
  "Content-Type: multipart/form-data",
  "Content-Encoding: gzip",
  "Expect: 100-continue",
  "Expect: something",
  "X-Requested-With: XMLHttpRequest",
  "X-Forwarded-For: ::1, %",
  "Cookie: a=b; __proto__=c",
  "Access-Control-Request-Method: POST",
  "__proto__: 1",
  "Host: second",
  `X-Long: ${long}`,
);

/** How the length of a body is said, which may be wrong. */
const framings = fc.constantFrom(
  "right",
  "right",
  "none",
  "chunked",
  "short",
  "long",
  "both",
  "bad",
);

const bodies = fc.oneof(
  fc.constantFrom(
    "",
    '{"protocol":"json","version":1}\x1e',
    '{"protocol":"json","version":1}\x1e{"type":1,"target":"echo","arguments":[1],"invocationId":"1"}\x1e',
    '{"type":7}\x1e',
    '{"protocol":"xml","version":1}\x1e',
    "\x1e\x1e\x1e",
    "{".repeat(70_000),
  ),
  fc.string({ unit: "binary", maxLength: 50 }),
);

const requests = fc.record({
  method: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom("POST", "GET", "POST", "DELETE") },
    {
      weight: 2,
      arbitrary: fc.constantFrom("OPTIONS", "HEAD", "PUT", "PATCH", "TRACE", "M-SEARCH", "post"),
    },
  ),
  path: paths,
  query: fc.array(parameters, { maxLength: 3 }),
  fields: fc.array(fields, { maxLength: 4 }),
  framing: framings,
  body: bodies,
  /** Of the tokens so far, which one is meant. */
  which: fc.nat(5),
  /** Whether the client leaves without reading an answer, or the next one does not wait for it. */
  way: fc.constantFrom("read", "read", "read", "leave", "at once"),
});

type Request = typeof requests extends fc.Arbitrary<infer T> ? T : never;

function bytesOf(request: Request, tokens: readonly string[]): Buffer {
  const { method, path, query, framing, body } = request;
  const known = tokens.length === 0 ? "none" : (tokens[request.which % tokens.length] as string);
  const all = query.map((each) => each.replaceAll(token, known)).join("&");
  const lines = ["Host: localhost", ...request.fields];
  const length = Buffer.byteLength(body);
  let payload = body;
  if (framing === "right" || framing === "both") lines.push(`Content-Length: ${length}`);
  else if (framing === "short") lines.push(`Content-Length: ${Math.max(0, length - 3)}`);
  else if (framing === "long") lines.push(`Content-Length: ${length + 3}`);
  else if (framing === "bad") lines.push("Content-Length: -1");
  if (framing === "chunked" || framing === "both") {
    lines.push("Transfer-Encoding: chunked");
    payload = `${length > 0 ? `${length.toString(16)}\r\n${body}\r\n` : ""}0\r\n\r\n`;
  }
  if (framing === "none") payload = "";
  // What is no header line or no target at all is for node:http to refuse.
  const target = `${path}${all === "" ? "" : `?${all}`}`.replace(/[\r\n]/g, "");
  const head = `${method} ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([
    Buffer.from(head.replaceAll(long, "a".repeat(17_000)), "latin1"),
    Buffer.from(payload),
  ]);
}

/** Time that is given to what lasts: a poll, an event stream, a body that never ends. */
const patience = 60;

/** Sends a request on a connection of its own. @returns All that came back. */
async function ask(port: number, bytes: Buffer, mayLeave: boolean): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  try {
    await new Promise<void>((resolve) => {
      socket.on("error", () => resolve());
      socket.on("close", () => resolve());
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        // An answer as a whole, of those that have an end.
        const text = Buffer.concat(chunks).toString("latin1");
        const [head = "", body] = text.split("\r\n\r\n", 2);
        const length = /^content-length: (\d+)/im.exec(head)?.[1];
        if (body !== undefined && length !== undefined && body.length >= Number(length)) resolve();
      });
      socket.write(bytes, () => {
        if (mayLeave) setImmediate(resolve);
      });
      setTimeout(resolve, patience);
    });
  } finally {
    socket.destroy();
  }
  return Buffer.concat(chunks).toString("latin1");
}

/** Every answer that is one has a status that is documented, even behind an earlier one. */
function checkAnswer(answer: string): void {
  if (answer === "") return;
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
  if (status === 100) {
    checkAnswer(answer.slice(answer.indexOf("\r\n\r\n") + 4));
    return;
  }
  assert.ok(documented.includes(status), `an answer of no documented status: ${answer}`);
}

/** Whatever is asked: an answer that is documented, and the next client is served. */
const anyRequests = fc.asyncProperty(
  fc.array(requests, { minLength: 1, maxLength: 25 }),
  fc.record({
    authorize: fc.boolean(),
    enableAuthenticationRefresh: fc.boolean(),
    allowStatefulReconnects: fc.boolean(),
    minimumProtocolVersion: fc.constantFrom(0, 0, 1),
  }),
  async (list, { authorize, ...options }) => {
    const logger = new Lines();
    const mapped = mapHub("/hub", EchoHub, {
      ...options,
      ...(authorize && { authorize: (_, { query }) => !query.has("useStatefulReconnect") }),
      authenticate(given) {
        if (given === "throws") throw new Error("no");
        return given === "good" ? { sub: "user" } : undefined;
      },
      logger,
      longPolling: { pollTimeout: 30 },
      disconnectTimeout: 5_000,
      uploadTimeout: 100,
    });
    const handler = compose([mapped, (_, response) => response.writeHead(404).end()]);
    const server = createServer(handler);
    handleUpgrades(server, { logger });
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    const port = await listen(server);
    try {
      const tokens: string[] = [];
      const all: Promise<void>[] = [];
      for (const request of list) {
        const { way } = request;
        const asked = ask(port, bytesOf(request, tokens), way === "leave").then((answer) => {
          checkAnswer(answer);
          const found = /"connection(?:Token|Id)":"([^"]+)"/g;
          for (const [, each] of answer.matchAll(found)) tokens.push(each as string);
        });
        all.push(asked);
        if (way !== "at once") await asked;
      }
      await Promise.all(all);
      await checkService(port, authorize);
      await delay(1);
      assert.deepEqual(unhandled, [], "unhandled rejections");
      const failed = logger.lines.filter(
        ({ level, message }) => level === "error" && !message.startsWith("authenti"),
      );
      assert.deepEqual(failed, [], "errors of ours");
    } finally {
      process.off("unhandledRejection", onUnhandled);
      await stop(server);
    }
  },
) as fc.IAsyncProperty<unknown>;

/** A client that does as it should, over long polling. */
async function checkService(port: number, isAuthorized: boolean): Promise<void> {
  const url = `http://127.0.0.1:${port}/hub`;
  const headers = isAuthorized ? { Authorization: "Bearer good" } : {};
  const asked = async (path: string, init: RequestInit) => {
    const response = await withTimeout(fetch(url + path, { ...init, headers }));
    return [response.status, await response.text()] as const;
  };
  const [status, text] = await asked("/negotiate?negotiateVersion=1", { method: "POST" });
  assert.equal(status, 200, text);
  const id = `?id=${JSON.parse(text).connectionToken}`;
  assert.equal((await asked(id, {}))[0], 200);
  const call = '{"type":1,"target":"echo","arguments":["here"],"invocationId":"1"}\x1e';
  const body = `{"protocol":"json","version":1}\x1e${call}`;
  assert.equal((await asked(id, { method: "POST", body }))[0], 200);
  let heard = "";
  for (let polls = 0; polls < 20 && !heard.includes('"here"'); polls++) {
    const [polled, piece] = await asked(id, {});
    assert.equal(polled, 200, heard);
    heard += piece;
  }
  assert.ok(heard.includes('"here"'), `no answer to a call, but ${heard}`);
  assert.equal((await asked(id, { method: "DELETE" }))[0], 202);
}

export const hubRequestProperties: readonly Property[] = [
  {
    name: "hub requests: a documented answer, and the next is served",
    runs: 25,
    time: 2_000,
    property: anyRequests,
  },
];
