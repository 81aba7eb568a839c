import { PreparedMessage } from "../engine/prepared-message.js";
import type { ByteSink } from "../engine/pushed-input.js";
import type { WebSocketConnection } from "../engine/web-socket-connection.js";
import { type CloseInfo, ConnectionClosedError, type HalyardError } from "../errors.js";
import type { CloseReason, ConnectionEnd, SharedBytes } from "../hub/transport.js";
import type { Carrier, HttpConnection } from "./http-connection.js";
import { preparedOf } from "./prepared.js";

/** @see RFC 6455 §7.4.1 */
const codes: Record<CloseReason, readonly [number, string]> = {
  done: [1000, ""],
  error: [1011, ""],
  shutdown: [1001, "server shutting down"],
};

/** A connection over one WebSocket, whose messages are a stream of bytes. */
export class WebSocketCarrier implements Carrier, ByteSink {
  readonly #connection: HttpConnection;
  readonly #socket: WebSocketConnection;
  #hasBegun = false;
  #isConsuming = false;
  #isPaused = false;

  constructor(connection: HttpConnection, socket: WebSocketConnection) {
    this.#connection = connection;
    this.#socket = socket;
  }

  /** Lets the socket's messages come, unless they are not wanted yet. */
  begin(): void {
    this.#hasBegun = true;
    if (!this.#isPaused) this.#consume();
  }

  #consume(): void {
    this.#isConsuming = true;
    this.#socket.consume(this);
  }

  /** Resolves when the socket is gone. */
  whenGone(): Promise<void> {
    return this.#socket.whenGone();
  }

  // --- out ---

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  get unwrittenBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#socket.postBytes(bytes, start, end, typeOf(this.#connection.format))) {
      this.#onRefused();
    }
  }

  sendShared(message: SharedBytes): void {
    const prepared = preparedOf(message);
    prepared.message ??= new PreparedMessage(typeOf(message.format), message.bytes);
    if (!this.#socket.post(prepared.message)) this.#onRefused();
  }

  /** A message that is missing would be worse than none: the client could not know. */
  #onRefused(): void {
    if (this.#socket.state !== "open" || this.#connection.carrier !== this) return;
    const error = new ConnectionClosedError(
      "ERR_OVERLOAD",
      "The memory for all sockets together is used up; see memoryBudget.",
    );
    this.#connection.endAtOnce({ cause: "timeout", error });
  }

  // --- in ---

  pause(): void {
    this.#isPaused = true;
    this.#socket.pauseInput();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#isConsuming) this.#socket.resumeInput();
    else if (this.#hasBegun) this.#consume();
  }

  onBytes(chunk: Buffer, start: number, end: number): void {
    // A socket that was replaced has nothing to say any more.
    if (this.#connection.carrier === this) this.#connection.received(chunk, start, end);
  }

  onDrained(): void {
    if (this.#connection.carrier === this) this.#connection.drained();
  }

  onEnd(close: CloseInfo | undefined, error: HalyardError | undefined): void {
    this.#connection.carrierEnded(this, endOf(close, error));
    if (close !== undefined) void this.#socket.endHandler();
  }

  // --- the end ---

  close(reason: CloseReason): void {
    const [status, description] = codes[reason];
    void this.#socket.close(status, description);
  }

  abort(): void {
    this.#socket.abort();
  }
}

function endOf(close: CloseInfo | undefined, error: HalyardError | undefined): ConnectionEnd {
  if (close !== undefined) return { cause: "client" };
  if (error === undefined || error.code === "ERR_CONNECTION_LOST") return { cause: "lost" };
  if (error.code === "ERR_KEEP_ALIVE_TIMEOUT") return { cause: "timeout", error };
  return { cause: "local", error };
}

function typeOf(format: HttpConnection["format"]): "text" | "binary" {
  return format === "Text" ? "text" : "binary";
}
