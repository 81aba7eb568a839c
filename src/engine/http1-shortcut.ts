import { IncomingMessage, maxHeaderSize as nodesMaxHeaderSize, Server } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type RequestHead, readRequestHead } from "../protocol/request-head.js";
import { type Beating, startBeat, stopBeat } from "./heartbeat.js";

/** What becomes of a request that was read here. */
export interface ShortcutHost {
  /** Whether the request is ours; one that is not goes to node:http, as if nothing was read. */
  isOurs(request: IncomingMessage): boolean;
  /**
   * Handles the request as one of the `upgrade` event. The socket's stream flows: who does not take
   * what comes before this returns must {@link stopFlow}, and listen to errors.
   */
  serve(request: IncomingMessage, socket: Socket, head: Buffer, parsed: RequestHead): void;
}

type ConnectionListener = (this: Server, socket: Socket) => void;

/** The parts of node:http that the shortcut needs, beyond what is documented. */
interface HttpInternals {
  /** What gives a new connection to the parser. */
  readonly listener: ConnectionListener;
  readonly messageClass: new (socket: Socket) => FillableMessage;
}

interface FillableMessage extends IncomingMessage {
  upgrade: boolean;
  joinDuplicateHeaders: boolean;
  _addHeaderLines(headers: string[], count: number): void;
}

/** Options of a server that @types/node does not show. */
interface LimitedServer extends Server {
  maxHeaderSize?: number;
  joinDuplicateHeaders?: boolean;
}

/** Largest head that is read here, in bytes; what node:http allows may be less. */
const maxHeadSize = 8192;

/**
 * Time in milliseconds between looks at the connections that have sent nothing yet. After two at
 * most node:http gets them, whose own time limit begins then.
 */
const patience = 500;

/** Stands in while nobody else listens: without a listener an error would end the process. */
export const ignoreError = () => {};
const ignoreData = () => {};

/**
 * A connection is worth waiting for while requests for a WebSocket are what comes: each earns as
 * much, any other first request costs one. Where few come, ordinary requests are not delayed.
 */
const earned = 4;
const mostTrust = 16;

/**
 * The short way of requests for a WebSocket past node:http's parser, whose setting up and taking
 * down is a good part of what it costs to open and close a connection.
 *
 * A connection waits here for its first bytes. If they are a plain request for a WebSocket, the
 * request object that node:http would make is made of them. In every other case, and in every
 * doubt, node:http gets the connection with its bytes as they came, and judges.
 */
export class Http1Shortcut implements Beating {
  readonly #server: Server;
  readonly #host: ShortcutHost;
  readonly #internals: HttpInternals;
  /** Connections that have sent nothing, with whether a beat has seen them. */
  readonly #waiting = new Map<Socket, boolean>();
  #isBeating = false;
  #trust = mostTrust;
  readonly #onData: (this: Socket, chunk: Buffer | string) => void;
  readonly #onEnd: (this: Socket) => void;
  readonly #onError: (this: Socket, error: Error) => void;

  private constructor(server: Server, host: ShortcutHost, internals: HttpInternals) {
    this.#server = server;
    this.#host = host;
    this.#internals = internals;
    const shortcut = this;
    this.#onData = function (chunk) {
      shortcut.#onFirstChunk(this, chunk);
    };
    this.#onEnd = function () {
      shortcut.#stopWaiting(this);
      this.end();
    };
    this.#onError = function (error) {
      if (!shortcut.#waiting.has(this)) return;
      shortcut.#stopWaiting(this);
      server.emit("clientError", error, this);
    };
    server.off("connection", internals.listener);
    server.prependListener("connection", (socket: Socket) => this.#onConnection(socket));
    const { closeAllConnections } = server;
    server.closeAllConnections = () => {
      for (const socket of this.#waiting.keys()) this.#handBack(socket);
      closeAllConnections.call(server);
    };
  }

  /** Takes the short way, if this server and this Node allow it. */
  static applyTo(server: Server, host: ShortcutHost): Http1Shortcut | undefined {
    const internals = internalsOf(server);
    return internals && new Http1Shortcut(server, host, internals);
  }

  /** A request for a WebSocket came, by whatever way. */
  noteWebSocket(): void {
    this.#trust = Math.min(mostTrust, this.#trust + earned);
  }

  onBeat(): void {
    for (const [socket, wasSeen] of this.#waiting) {
      if (wasSeen) this.#handBack(socket);
      else this.#waiting.set(socket, true);
    }
    if (this.#waiting.size > 0) return;
    stopBeat(this, patience);
    this.#isBeating = false;
  }

  #onConnection(socket: Socket): void {
    // Whoever set a timeout counts on Node's own listeners for it.
    if (this.#trust === 0 || this.#server.timeout > 0 || !isUntouched(socket)) {
      this.#internals.listener.call(this.#server, socket);
      return;
    }
    (socket as { server?: Server }).server = this.#server;
    socket.on("error", this.#onError);
    socket.on("end", this.#onEnd);
    socket.on("data", this.#onData);
    this.#waiting.set(socket, false);
    if (this.#isBeating) return;
    startBeat(this, patience);
    this.#isBeating = true;
  }

  #stopWaiting(socket: Socket): void {
    this.#waiting.delete(socket);
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.on("error", ignoreError);
  }

  #handBack(socket: Socket, chunk?: Buffer): void {
    this.#stopWaiting(socket);
    if (socket.destroyed) return;
    this.#trust = Math.max(0, this.#trust - 1);
    const hasReaders = socket.listenerCount("data") + socket.listenerCount("readable") > 0;
    this.#internals.listener.call(this.#server, socket);
    socket.off("error", ignoreError);
    if (chunk !== undefined) {
      // Not by the stream: whoever listened besides has got the chunk already.
      const parse = socket.listeners("data").at(-1) as (chunk: Buffer) => void;
      parse.call(socket, chunk);
    }
    // A new listener has Node's parser read from the stream, so that the other readers see all.
    if (hasReaders) socket.on("data", ignoreData).off("data", ignoreData);
    // As if it were paused only now, so that Node's parser stops too.
    if (socket.isPaused()) socket.emit("pause");
  }

  #onFirstChunk(socket: Socket, chunk: Buffer | string): void {
    if (typeof chunk === "string") {
      // Somebody has set an encoding, which node:http forbids by an error of its own.
      this.#stopWaiting(socket);
      socket.destroy();
      return;
    }
    const parsed = this.#read(socket, chunk);
    const request = parsed && this.#request(socket, parsed);
    if (request === undefined || !this.#host.isOurs(request)) {
      this.#handBack(socket, chunk);
      return;
    }
    this.noteWebSocket();
    this.#waiting.delete(socket);
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    this.#host.serve(request, socket, chunk.subarray(parsed?.size), parsed as RequestHead);
    // Last, because without a listener an error would end the process.
    socket.off("error", this.#onError);
  }

  #read(socket: Socket, chunk: Buffer): RequestHead | undefined {
    const { maxHeadersCount, maxHeaderSize = nodesMaxHeaderSize } = this.#server as LimitedServer;
    // Whoever reads too gets all of it only by Node's way; a limit of lines is Node's affair.
    if (maxHeadersCount || socket.listenerCount("data") > 1) return undefined;
    if (socket.listenerCount("readable") > 0) return undefined;
    return readRequestHead(chunk, chunk.length, Math.min(maxHeadSize, maxHeaderSize));
  }

  /** What node:http's parser makes of the same head. */
  #request(socket: Socket, { url, rawHeaders }: RequestHead): IncomingMessage {
    const request = new this.#internals.messageClass(socket);
    request.httpVersionMajor = 1;
    request.httpVersionMinor = 1;
    request.httpVersion = "1.1";
    request.joinDuplicateHeaders = (this.#server as LimitedServer).joinDuplicateHeaders ?? false;
    request.url = url;
    request.upgrade = true;
    request._addHeaderLines(rawHeaders, rawHeaders.length);
    request.method = "GET";
    request.complete = true;
    request.push(null);
    return request;
  }
}

/** Has the stream keep what comes until somebody reads; Node does the same before an `upgrade`. */
export function stopFlow(socket: Duplex): void {
  (socket as unknown as { readableFlowing: null }).readableFlowing = null;
}

/** Whether a connection comes from the kernel, and nobody has read from it. */
function isUntouched(socket: unknown): boolean {
  return (
    socket instanceof Socket &&
    !("encrypted" in socket) &&
    socket.readableLength === 0 &&
    socket.listenerCount("data") + socket.listenerCount("readable") === 0
  );
}

function internalsOf(server: Server): HttpInternals | undefined {
  if (!(server instanceof Server)) return undefined;
  const listener = server.listeners("connection")[0] as ConnectionListener | undefined;
  const key = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === "IncomingMessage",
  );
  const messageClass = key && (server as unknown as Record<symbol, unknown>)[key];
  const isKnown =
    listener?.name === "connectionListener" &&
    typeof messageClass === "function" &&
    typeof (messageClass.prototype as Partial<FillableMessage>)._addHeaderLines === "function";
  return isKnown
    ? { listener, messageClass: messageClass as HttpInternals["messageClass"] }
    : undefined;
}

/** Where a request keeps its headers, once somebody has asked for them. */
const headersKey = Object.getOwnPropertySymbols(new IncomingMessage(new Socket())).find(
  ({ description }) => description === "kHeaders",
);

/** Whether it is certain that nobody has asked for the headers of `request` yet. */
export function hasUnreadHeaders(request: IncomingMessage): boolean {
  if (headersKey === undefined) return false;
  return (request as unknown as Record<symbol, unknown>)[headersKey] === null;
}
