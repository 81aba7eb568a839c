import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { compose, handleUpgrades, webSockets } from "halyard";
import {
  type EchoServer,
  eagerCompression,
  echoes,
  halyardClient,
  halyardServer,
  holdSession,
  quiet,
} from "../conformance/echo.js";
import { connectRaw } from "../conformance/raw-client.js";
import { connectRawHttp2 } from "../conformance/raw-http2.js";
import { RawServer } from "../conformance/raw-server.js";
import { selfSigned } from "../conformance/self-signed.js";
import { type Connect, casesFor, runCase } from "../conformance/suite.js";

const maxMessageSize = 1024 * 1024;
const cases = casesFor({ maxMessageSize });

it("gives every case an id of its own", () => {
  assert.equal(new Set(cases.map(({ id }) => id)).size, cases.length);
});

/** One test for each case. */
function play(chosen: typeof cases, connect: Connect): void {
  for (const each of chosen) {
    it(`${each.id} ${each.title} [${each.section}]`, async () => {
      const { failure, leftOut } = await runCase(each, connect);
      if (failure !== undefined) throw failure;
      assert.equal(leftOut, undefined);
    });
  }
}

const tls = selfSigned();
/** Of these the outcome does not depend on how messages are received or where bytes go through. */
const isIndependent = ({ id }: { id: string }) => /^(9\.7|13\.[123])\./.test(id);
const few = cases.filter((each) => !isIndependent(each));
/** What TLS records could change, and something of everything else. */
const overTls = ["1.1", "1.2", "1.4", "2", "5.1", "7.1", "7.3", "9.5", "10", "12.8", "12.9"];

for (const [name, form, chosen, options] of [
  [
    "whole messages",
    "whole messages",
    cases,
    { maxMessageSize, socketOptions: { compression: eagerCompression } },
  ],
  ["piece by piece", "piece by piece", few, { maxMessageSize }],
  ["over TLS", "whole messages", casesFor({ maxMessageSize }, overTls), { maxMessageSize, tls }],
] as const) {
  describe(`conformance of the server, ${name}`, { concurrency: 8 }, () => {
    let server: EchoServer;
    before(async () => {
      server = await halyardServer(form, options);
    });
    after(() => server.close());
    play(chosen, (deflate) => connectRaw(server.url, { deflate }));
  });
}

describe("conformance of the server, over HTTP/2", { concurrency: 8 }, () => {
  const server = createServer(
    compose([
      webSockets({ maxMessageSize, compression: true, logger: quiet }),
      async (request) => {
        await echoes["whole messages"]?.(await request.webSockets.accept());
      },
    ]),
  );
  handleUpgrades(server, { logger: quiet, shutdownTimeout: 100 });
  let session: ClientHttp2Session;
  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await once(session, "remoteSettings");
  });
  after(() => {
    session.destroy();
    server.close();
  });
  play(casesFor({ maxMessageSize }, overTls), (deflate) => connectRawHttp2(session, deflate));
});

const ofClient = casesFor({ maxMessageSize, role: "client" });
const someOfClient = casesFor({ maxMessageSize, role: "client" }, overTls);
const eager = { maxMessageSize, compression: eagerCompression };

for (const [name, form, chosen, scheme, start, options] of [
  ["whole messages", "whole messages", ofClient, "ws", () => RawServer.listen(0), eager],
  [
    "piece by piece",
    "piece by piece",
    ofClient.filter((each) => !isIndependent(each)),
    "ws",
    () => RawServer.listen(0),
    eager,
  ],
  [
    "over TLS",
    "whole messages",
    someOfClient,
    "wss",
    () => RawServer.listen(0, tls),
    { ...eager, tls: { ca: tls.cert } },
  ],
  [
    "over HTTP/2",
    "whole messages",
    someOfClient,
    "ws",
    () => RawServer.listenHttp2(0),
    { ...eager, http2: true },
  ],
] as const) {
  describe(`conformance of the client, ${name}`, { concurrency: 8 }, () => {
    let server: RawServer;
    const client = halyardClient(form, options);
    before(async () => {
      server = await start();
      if ("http2" in options) await holdSession(server, options);
    });
    after(() => server.destroy());
    play(chosen, (deflate) => {
      const connection = server.connect(deflate);
      // A client that cannot connect is found out by the case's time limit.
      client(`${scheme}://127.0.0.1:${server.port}/`).catch(() => {});
      return connection;
    });
  });
}
