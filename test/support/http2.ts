/** What tests of WebSockets over HTTP/2 need; every wait has a time limit. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { once, RawConnection, Signal, timeLimit, withTimeout } from "./network.js";

/** A self-signed certificate for 127.0.0.1 and localhost. */
export function selfSigned(): { key: Buffer; cert: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), "halyard-http2-"));
  const key = join(directory, "key.pem");
  const cert = join(directory, "cert.pem");
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-subj", "/CN=localhost"],
      ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
    ],
    { stdio: "ignore" },
  );
  const pair = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(directory, { recursive: true });
  return pair;
}

/** Lets a server listen until the test is over, then ends every connection. */
export async function serveUntilEnd(
  t: Pick<TestContext, "after">,
  server: Server | Http2Server | Http2SecureServer,
): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  t.after(async () => {
    const closed = server.listening ? once(server, "close") : undefined;
    if (server.listening) server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** A connection of HTTP/2 whose server has said what it can do. */
export async function openSession(
  t: Pick<TestContext, "after">,
  port: number,
  { isSecure = false, ...options }: { isSecure?: boolean; initialWindowSize?: number } = {},
): Promise<ClientHttp2Session> {
  const session = connect(`${isSecure ? "https" : "http"}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    settings: options,
  });
  session.on("error", () => {});
  t.after(() => session.destroy());
  await once(session, "remoteSettings");
  return session;
}

/** The pseudo-headers and headers of a good handshake, with changes; `undefined` leaves one out. */
export function connectHeaders(
  changes: Record<string, string | undefined> = {},
): Record<string, string> {
  const all = {
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":path": "/ws",
    ":authority": "127.0.0.1",
    "sec-websocket-version": "13",
    ...changes,
  };
  return Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

export type ResponseHeaders = IncomingHttpHeaders & IncomingHttpStatusHeader;

/** A stream on which the test writes and reads frames itself. */
export interface RawStream {
  readonly stream: ClientHttp2Stream;
  readonly headers: ResponseHeaders;
  readonly raw: RawConnection;
}

/** Asks for a WebSocket and waits for the answer, whatever it is. */
export async function requestStream(
  session: ClientHttp2Session,
  changes: Record<string, string | undefined> = {},
): Promise<RawStream> {
  const stream = session.request(connectHeaders(changes), { endStream: false });
  const answered = new Signal<ResponseHeaders>("the answer");
  stream.on("error", () => {});
  stream.on("response", (headers) => answered.fire(headers));
  const failed = new Signal<never>("the stream's end");
  stream.on("close", () => failed.fire(undefined as never));
  const headers = await Promise.race([answered.wait(), failed.promise]);
  assert.ok(headers, `the stream was reset with ${stream.rstCode} before an answer`);
  return { stream, headers, raw: new RawConnection(stream as unknown as Socket) };
}

/** A stream on which a WebSocket is open. */
export async function openStream(
  session: ClientHttp2Session,
  changes: Record<string, string | undefined> = {},
): Promise<RawStream> {
  const opened = await requestStream(session, changes);
  assert.equal(opened.headers[":status"], 200);
  return opened;
}

/** The next frame of a server, of any length. */
export async function readFrame(raw: RawConnection): Promise<{ opcode: number; payload: Buffer }> {
  const [first = 0, second = 0] = await raw.readBytes(2);
  let length = second;
  if (second === 126) length = (await raw.readBytes(2)).readUInt16BE();
  if (second === 127) length = Number((await raw.readBytes(8)).readBigUInt64BE());
  return { opcode: first & 15, payload: await raw.readBytes(length) };
}

/** The status of the next frame, which must be a Close. */
export async function readClose(raw: RawConnection): Promise<number> {
  const { opcode, payload } = await readFrame(raw);
  assert.equal(opcode, 8);
  return payload.length < 2 ? 1005 : payload.readUInt16BE();
}

/** Waits for the end of a stream. @returns The code it was reset with, 0 for an end in order. */
export async function endOf(stream: ClientHttp2Stream): Promise<number | undefined> {
  if (!stream.closed || !stream.destroyed) {
    await withTimeout(
      new Promise<void>((resolve) => stream.on("close", resolve)),
      timeLimit,
      "the stream's end",
    );
  }
  return stream.rstCode;
}
