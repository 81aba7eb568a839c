import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { compose, handleUpgrades, webSockets } from "halyard";
import {
  type EchoServer,
  eagerCompression,
  echoes,
  halyardClient,
  halyardServer,
  quiet,
} from "../conformance/echo.js";
import { connectRaw } from "../conformance/raw-client.js";
import { connectRawHttp2 } from "../conformance/raw-http2.js";
import { RawServer } from "../conformance/raw-server.js";
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

/** A key and its certificate, signed by itself. */
function selfSigned(): { key: Buffer; cert: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), "halyard-conformance-"));
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  try {
    execFileSync(
      "openssl",
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        ...["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        ...["-keyout", key, "-out", cert],
      ],
      { stdio: "ignore" },
    );
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(directory, { recursive: true });
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

for (const form of ["whole messages", "piece by piece"]) {
  describe(`conformance of the client, ${form}`, { concurrency: 8 }, () => {
    let server: RawServer;
    const client = halyardClient(form, { maxMessageSize, compression: eagerCompression });
    before(async () => {
      server = await RawServer.listen(0);
    });
    after(() => server.destroy());
    const all = casesFor({ maxMessageSize, role: "client" });
    const chosen = all.filter((each) => form === "whole messages" || !isIndependent(each));
    play(chosen, (deflate) => {
      const connection = server.connect(deflate);
      // A client that cannot connect is found out by the case's time limit.
      client(`ws://127.0.0.1:${server.port}/`).catch(() => {});
      return connection;
    });
  });
}
