import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { PeerDeflate, readAnswer } from "./deflate.js";
import type { DeflateWish } from "./peer.js";
import { RawConnection } from "./raw-connection.js";

export type { RawConnection } from "./raw-connection.js";

/** The answer to a handshake that was refused. */
export class RefusedError extends Error {
  /** The answer's head and whatever of the body came with it. */
  readonly answer: string;

  constructor(answer: string) {
    super(`The handshake was answered with "${answer.split("\r\n", 1)[0]}".`);
    this.answer = answer;
  }
}

export interface RawConnectOptions {
  /** What to offer of compression. Default: nothing. */
  readonly deflate?: DeflateWish | undefined;
  /** Time for TCP and handshake, in milliseconds. Default 10 000. */
  readonly timeout?: number;
}

/** Opens TCP, or for `wss:` TLS over it, to the server of a URL. */
export function connectTcp(url: URL): Socket {
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new Error(`Only ws: and wss: URLs are supported, not ${url.href}.`);
  }
  const isSecure = url.protocol === "wss:";
  // An IPv6 address stands in brackets in a URL and without them in a socket's address.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (isSecure ? 443 : 80));
  let socket = connect({ host, port, allowHalfOpen: true });
  // Every write is a segment of its own, so that a server sees the cuts.
  socket.setNoDelay(true);
  if (isSecure) {
    // The server's WebSockets are tested; its certificate may be of its own making.
    socket = connectTls({ socket, rejectUnauthorized: false });
  }
  return socket;
}

/** The request of an opening handshake. @see RFC 6455 §4.1 */
export function handshakeRequest(url: URL, key: string, headers: readonly string[] = []): string {
  return [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
    ...headers,
    "\r\n",
  ].join("\r\n");
}

/**
 * Connects and shakes hands by HTTP/1.1, checking the answer strictly.
 *
 * Another transport (an HTTP/2 stream, RFC 8441) needs another function of this form and nothing
 * else: it ends with `new RawConnection(stream, "client", …)`, and {@link agree} reads the header.
 *
 * @throws RefusedError for an answer other than 101, Error for one that may not be or comes late.
 * @see RFC 6455 §4.1, §4.2.2
 */
export function connectRaw(
  url: string | URL,
  { deflate, timeout = 10_000 }: RawConnectOptions = {},
): Promise<RawConnection> {
  const target = new URL(url);
  const key = randomBytes(16).toString("base64");
  const socket = connectTcp(target);
  return new Promise((resolve, reject) => {
    let answer: Buffer = Buffer.alloc(0);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`No handshake within ${timeout} ms.`)), timeout);
    const onEnd = () => fail(new Error("TCP ended within the handshake."));
    const onData = (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      const end = answer.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = answer.toString("latin1", 0, end);
      let agreed: PeerDeflate | undefined;
      try {
        agreed = agree(checkAnswer(head, key, answer), deflate);
      } catch (error) {
        fail(error as Error);
        return;
      }
      clearTimeout(timer);
      socket.off("data", onData).off("end", onEnd).off("error", fail);
      resolve(new RawConnection(socket, "client", answer.subarray(end + 4), agreed));
    };
    socket.on("data", onData).on("end", onEnd).on("error", fail);
    const headers = deflate ? [`Sec-WebSocket-Extensions: ${deflate.offer}`] : [];
    socket.write(handshakeRequest(target, key, headers));
  });
}

/** What an answer's `Sec-WebSocket-Extensions` says. @throws Error for what was not offered. */
export function agree(
  extensions: string | undefined,
  wish: DeflateWish | undefined,
): PeerDeflate | undefined {
  if (extensions === undefined) return undefined;
  if (wish === undefined) throw new Error("handshake: an extension that was not offered (§4.1)");
  return new PeerDeflate("client", readAnswer(wish.offer, extensions));
}

/** @returns The answer's `Sec-WebSocket-Extensions`. */
function checkAnswer(head: string, key: string, answer: Buffer): string | undefined {
  const [statusLine = "", ...lines] = head.split("\r\n");
  if (!/^HTTP\/1\.1 101(?: |$)/.test(statusLine)) throw new RefusedError(answer.toString("latin1"));
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const accept = createHash("sha1")
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  check(fields.get("upgrade")?.toLowerCase() === "websocket", "no Upgrade: websocket (§4.2.2)");
  check(
    fields
      .get("connection")
      ?.toLowerCase()
      .split(/\s*,\s*/)
      .includes("upgrade") ?? false,
    "no Connection: Upgrade (§4.2.2)",
  );
  check(fields.get("sec-websocket-accept") === accept, "a wrong Sec-WebSocket-Accept (§4.2.2)");
  return fields.get("sec-websocket-extensions");
}

function check(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new Error(`handshake: ${violation}`);
}
