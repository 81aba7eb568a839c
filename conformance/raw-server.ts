import { createHash } from "node:crypto";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
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

/** A request for a WebSocket that came before its case did. */
interface Arrival {
  /** Checks the request and answers it. @throws Error for what the standards do not allow. */
  accept(deflate: DeflateWish | undefined): RawConnection;
  refuse(status: "400 Bad Request" | "410 Gone"): void;
}

/**
 * The suite as a server, for a client under test: each connection that comes plays the case that
 * waits longest. A connection that comes with no case waiting is kept until there is one.
 */
export class RawServer {
  readonly #server: Server | Http2Server;
  readonly #waiting: Waiting[] = [];
  readonly #arrived: Arrival[] = [];
  readonly #sockets = new Set<Socket>();
  #isOver = false;

  private constructor(server: Server | Http2Server, event: "connection" | "secureConnection") {
    this.#server = server;
    server.on(event, (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** @param tls - Key and certificate for wss: URLs. */
  static async listen(port: number, tls?: TlsOptions): Promise<RawServer> {
    const options = { allowHalfOpen: true, noDelay: true };
    const server = tls ? createTlsServer({ ...options, ...tls }) : createServer(options);
    const event = tls ? "secureConnection" : "connection";
    const result = new RawServer(server, event);
    server.on(event, async (socket: Socket) => {
      const request = await readHead(socket);
      if (request !== undefined) result.#arrive(overHttp1(socket, request));
    });
    return result.#listen(port);
  }

  /** For clients that ask for a stream of HTTP/2, without TLS. @see RFC 8441 */
  static async listenHttp2(port: number): Promise<RawServer> {
    const server = createHttp2Server({
      settings: { enableConnectProtocol: true },
      // In megabytes. Beyond it, which messages of 16 MiB are, streams stand still.
      maxSessionMemory: 1000,
    });
    const result = new RawServer(server, "connection");
    server.on("stream", (stream, headers) => result.#arrive(overHttp2(stream, headers)));
    return result.#listen(port);
  }

  async #listen(port: number): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.on("error", reject);
      this.#server.listen(port, "127.0.0.1", resolve);
    });
    return this;
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
    for (const arrival of this.#arrived) arrival.refuse("410 Gone");
    this.#server.close();
  }

  /** Ends whatever is still connected. */
  destroy(): void {
    this.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #arrive(arrival: Arrival): void {
    if (this.#isOver) {
      arrival.refuse("410 Gone");
      return;
    }
    this.#arrived.push(arrival);
    this.#match();
  }

  #match(): void {
    while (this.#waiting.length > 0 && this.#arrived.length > 0) {
      const { deflate, resolve, reject } = this.#waiting.shift() as Waiting;
      const arrival = this.#arrived.shift() as Arrival;
      try {
        resolve(arrival.accept(deflate));
      } catch (error) {
        arrival.refuse("400 Bad Request");
        reject(error as Error);
      }
    }
  }
}

interface RequestHead {
  readonly head: string;
  /** Bytes that came behind it. */
  readonly rest: Buffer;
}

function overHttp1(socket: Socket, request: RequestHead): Arrival {
  return {
    accept: (deflate) => accept(socket, request, deflate),
    refuse: (status) =>
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`),
  };
}

function overHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Arrival {
  stream.on("error", () => {});
  return {
    accept(deflate) {
      const { ":method": method, ":protocol": protocol, ":path": path = "" } = headers;
      check(method === "CONNECT" && protocol === "websocket", `${method} of ${protocol}`, rfc8441);
      check(/^\//.test(String(path)), `the path "${path}"`, rfc8441);
      check(headers[":scheme"] === "http", `the scheme ${headers[":scheme"]}`, rfc8441);
      check(headers["sec-websocket-version"] === "13", "the version is not 13", rfc8441);
      for (const name of ["connection", "upgrade", "host", "sec-websocket-key"]) {
        check(headers[name] === undefined, `there is a ${name}`, rfc8441);
      }
      const offers = headers["sec-websocket-extensions"] as string | undefined;
      const agreed = deflate && agree(offers, deflate);
      stream.respond({
        ":status": 200,
        ...(agreed && { "sec-websocket-extensions": agreed.answer }),
      });
      const codec = agreed && new PeerDeflate("server", agreed.agreement);
      // Of a socket the connection uses what every duplex stream has.
      return new RawConnection(stream as unknown as Socket, "server", Buffer.alloc(0), codec);
    },
    refuse: (status) => stream.respond({ ":status": status.slice(0, 3) }, { endStream: true }),
  };
}

function readHead(socket: Socket): Promise<RequestHead | undefined> {
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
function accept(
  socket: Socket,
  { head, rest }: RequestHead,
  deflate: DeflateWish | undefined,
): RawConnection {
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

const rfc8441 = "RFC 8441 §5";

function check(
  condition: boolean,
  violation: string,
  section = "RFC 6455 §4.1",
): asserts condition {
  if (!condition) throw new Error(`the client's handshake: ${violation} (${section})`);
}
