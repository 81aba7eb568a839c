import type { ServerResponse } from "node:http";
import { type Flushable, flushNow, flushSoon } from "../engine/output.js";
import type { CloseReason, SharedBytes } from "../hub/transport.js";
import type { Exchange } from "./exchange.js";
import type { Carrier, HttpConnection } from "./http-connection.js";
import { preparedOf } from "./prepared.js";

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const prefix = Buffer.from("data: ");
const lineEnd = Buffer.from("\r\n");
const eventEnd = Buffer.from("\r\n\r\n");

/** Output beyond this is written within the turn, so that a long turn does not pile it up. */
const flushFrom = 64 * 1024;

/**
 * A connection over a response that never ends, and POSTs.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class ServerSentEvents implements Carrier, Flushable {
  readonly #connection: HttpConnection;
  readonly #response: ServerResponse;
  #events: Uint8Array[] = [];
  #pending = 0;
  #isFlushScheduled = false;
  #isClosing = false;
  readonly #onWritten = () => {
    if (this.bufferedBytes === 0) this.#connection.drained();
  };

  constructor(connection: HttpConnection, response: ServerResponse) {
    this.#connection = connection;
    this.#response = response;
  }

  /** Answers with the beginning of the stream. @returns Resolves when the stream is over. */
  begin(exchange: Exchange): Promise<void> {
    exchange.takeOver();
    const response = this.#response;
    // A server's time limit for quiet sockets is not made for responses that last.
    response.setTimeout(0);
    response.writeHead(200, {
      "Content-Type": "text/event-stream",
      "Cache-Control": "no-cache,no-store",
      Pragma: "no-cache",
      "Content-Encoding": "identity",
      // What nginx asks for to pass on what comes when it comes.
      "X-Accel-Buffering": "no",
    });
    response.write(":\r\n");
    passOn(response);
    response.on("error", () => {});
    return new Promise((resolve) => {
      const onClose = () => {
        this.#onGone();
        resolve();
      };
      if (response.closed || response.destroyed) process.nextTick(onClose);
      else response.once("close", onClose);
    });
  }

  // --- out ---

  get bufferedBytes(): number {
    return this.#pending + this.#response.writableLength;
  }

  get unwrittenBytes(): number {
    return this.bufferedBytes;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.#add(encodeEvent(bytes, start, end));
  }

  sendShared(message: SharedBytes): void {
    const prepared = preparedOf(message);
    prepared.event ??= encodeEvent(message.bytes, 0, message.bytes.length);
    this.#add(prepared.event);
  }

  #add(event: Uint8Array): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    this.#events.push(event);
    this.#pending += event.length;
    if (this.#pending >= flushFrom) flushNow(this);
    else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true;
      flushSoon(this);
    }
  }

  flush(): boolean {
    this.#isFlushScheduled = false;
    const events = this.#events;
    if (events.length > 0) {
      this.#events = [];
      const size = this.#pending;
      this.#pending = 0;
      const response = this.#response;
      if (!response.writableEnded && !response.destroyed) {
        const bytes = events.length === 1 ? events[0] : Buffer.concat(events, size);
        response.write(bytes, this.#onWritten);
        passOn(response);
      }
    }
    if (this.#isClosing && !this.#response.writableEnded) this.#response.end();
    return true;
  }

  // --- in: by POSTs ---

  pause(): void {}

  resume(): void {}

  // --- the end ---

  close(_reason: CloseReason): void {
    this.#isClosing = true;
    flushNow(this);
  }

  abort(): void {
    this.#response.destroy();
  }

  #onGone(): void {
    // A client has no other way to end a stream than to leave.
    this.#connection.carrierEnded(this, { cause: "client" });
  }
}

/** Compressing middleware keeps what is written until it is told otherwise, by a method it adds. */
function passOn(response: ServerResponse): void {
  if (Object.hasOwn(response, "flush")) (response as { flush?: () => void }).flush?.();
}

/** Bytes as one event: a line of it for each of theirs. */
export function encodeEvent(bytes: Uint8Array, start: number, end: number): Buffer {
  if (start === end) return Buffer.from(lineEnd);
  const first = bytes.indexOf(lineFeed, start);
  if (first < 0 || first >= end) {
    const event = Buffer.allocUnsafe(prefix.length + end - start + eventEnd.length);
    event.set(prefix, 0);
    event.set(bytes.subarray(start, end), prefix.length);
    event.set(eventEnd, prefix.length + end - start);
    return event;
  }
  const parts: Uint8Array[] = [];
  for (let at = start; ; ) {
    const found = bytes.indexOf(lineFeed, at);
    const isLast = found < 0 || found >= end;
    let lineStop = isLast ? end : found;
    // A carriage return belongs to the line's end, unless it is all there is of the line.
    if (!isLast && lineStop - at > 1 && bytes[lineStop - 1] === carriageReturn) lineStop--;
    parts.push(prefix, bytes.subarray(at, lineStop), lineEnd);
    if (isLast) break;
    at = found + 1;
  }
  parts.push(lineEnd);
  return Buffer.concat(parts);
}
