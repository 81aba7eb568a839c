import { createHash } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { answerTo, type DeflateParameters, PeerDeflate, parseParameters } from "./deflate.js";
import type { DeflateWish } from "./peer.js";
import { RawConnection } from "./raw-connection.js";
import type { Connect } from "./suite.js";

interface Waiting {
  readonly deflate: DeflateWish | undefined;
  resolve(connection: RawConnection): void;
  reject(error: Error): void;
}

/**
 * The suite as a server, for a client under test: each connection that comes plays the case that
 * waits longest. A connection that comes with no case waiting is kept until there is one.
 */
export class RawServer {
  readonly #server: Server;
  readonly #waiting: Waiting[] = [];
  readonly #arrived: Arrival[] = [];
  readonly #sockets = new Set<Socket>();
  #isOver = false;

  private constructor(server: Server, event: "connection" | "secureConnection") {
    this.#server = server;
    server.on(event, (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      void this.#onSocket(socket);
    });
  }

  /** @param tls - Key and certificate for wss: URLs. */
  static async listen(port: number, tls?: TlsOptions): Promise<RawServer> {
    const options = { allowHalfOpen: true, noDelay: true };
    const server = tls ? createTlsServer({ ...options, ...tls }) : createServer(options);
    const result = new RawServer(server, tls ? "secureConnection" : "connection");
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    return result;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** The next connection, after a handshake that fits the case. */
  readonly connect: Connect = (deflate) =>
    new Promise((resolve, reject) => {
      this.#waiting.push({ deflate, resolve, reject });
      this.#match();
    });

  /** Tells clients that there are no more cases, and stops. */
  close(): void {
    this.#isOver = true;
    for (const { socket } of this.#arrived) refuse(socket, "410 Gone");
    this.#server.close();
  }

  /** Ends whatever is still connected. */
  destroy(): void {
    this.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #onSocket(socket: Socket): Promise<void> {
    socket.on("error", () => {});
    const request = await readHead(socket);
    if (request === undefined) return;
    if (this.#isOver) {
      refuse(socket, "410 Gone");
      return;
    }
    this.#arrived.push({ socket, ...request });
    this.#match();
  }

  #match(): void {
    while (this.#waiting.length > 0 && this.#arrived.length > 0) {
      const { deflate, resolve, reject } = this.#waiting.shift() as Waiting;
      const arrival = this.#arrived.shift() as Arrival;
      try {
        resolve(accept(arrival, deflate));
      } catch (error) {
        refuse(arrival.socket, "400 Bad Request");
        reject(error as Error);
      }
    }
  }
}

interface Arrival {
  readonly socket: Socket;
  readonly head: string;
  readonly rest: Buffer;
}

function readHead(socket: Socket): Promise<{ head: string; rest: Buffer } | undefined> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", onData);
      socket.pause();
      resolve({ head: bytes.toString("latin1", 0, end), rest: bytes.subarray(end + 4) });
    };
    socket.on("data", onData);
    socket.on("close", () => resolve(undefined));
  });
}

/** Checks a request and answers it. @throws Error for what RFC 6455 §4.1 does not allow. */
function accept({ socket, head, rest }: Arrival, deflate: DeflateWish | undefined): RawConnection {
  const [requestLine = "", ...lines] = head.split("\r\n");
  check(/^GET \/\S* HTTP\/1\.1$/.test(requestLine), `the request line "${requestLine}"`);
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const key = line.slice(0, colon).toLowerCase();
    check(!fields.has(key) || !key.startsWith("sec-websocket-"), `${key} is there twice`);
    fields.set(key, line.slice(colon + 1).trim());
  }
  const key = fields.get("sec-websocket-key") ?? "";
  check(fields.has("host"), "no Host");
  check(fields.get("upgrade")?.toLowerCase() === "websocket", "no Upgrade: websocket");
  check(/\bupgrade\b/i.test(fields.get("connection") ?? ""), "no Connection: Upgrade");
  check(fields.get("sec-websocket-version") === "13", "the version is not 13");
  check(/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key), "the key is not the base64 form of 16 bytes");
  const agreed = deflate && agree(fields.get("sec-websocket-extensions"), deflate);
  const answer = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")}`,
    ...(agreed ? [`Sec-WebSocket-Extensions: ${agreed.answer}`] : []),
  ];
  socket.write(`${answer.join("\r\n")}\r\n\r\n`);
  const codec = agreed && new PeerDeflate("server", agreed.agreement);
  const connection = new RawConnection(socket, "server", rest, codec);
  socket.resume();
  return connection;
}

/** Takes the first offer that lets us have what the case is about. */
function agree(
  offers: string | undefined,
  wish: DeflateWish,
): ReturnType<typeof answerTo> | undefined {
  const wishes = parseParameters(wish.offer.split(",")[0] as string);
  for (const element of offers?.split(",") ?? []) {
    if (!/^\s*permessage-deflate\b/i.test(element)) continue;
    const offered: DeflateParameters = parseParameters(element.trim());
    const answer = answerTo(offered, wishes);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function check(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new Error(`the client's handshake: ${violation} (RFC 6455 §4.1)`);
}
