import { type Flushable, flushNow, flushSoon } from "../engine/output.js";
import type { CloseReason, SharedBytes } from "../hub/transport.js";
import { type Exchange, isGone, type ResponseHeaders } from "./exchange.js";
import type { Carrier, HttpConnection } from "./http-connection.js";

const nothing = Buffer.alloc(0);
const bytesType = "application/octet-stream";

/** What keeps caches from answering a poll. */
export const uncached: ResponseHeaders = {
  "Cache-Control": "no-cache, no-store",
  Pragma: "no-cache",
  Expires: "Thu, 01 Jan 1970 00:00:00 GMT",
};

/** A poll that waits for data. */
interface Poll {
  readonly exchange: Exchange;
  /** Lets the request's pipeline go on. */
  readonly release: () => void;
  timer: NodeJS.Timeout | undefined;
}

/**
 * A connection over requests that wait for data, and POSTs.
 *
 * The newest poll counts: one that comes while another waits takes its place. Between two polls
 * the connection is inactive, and ends when that lasts too long.
 */
export class LongPolling implements Carrier, Flushable {
  readonly #connection: HttpConnection;
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #poll: Poll | undefined;
  /** Polls whose response is not over. */
  #present = 0;
  /** Those of them that are being answered with data. */
  readonly #writing = new Set<Exchange>();
  unwrittenBytes = 0;
  #isFlushScheduled = false;
  #isClosing = false;
  #isEnded = false;

  constructor(connection: HttpConnection) {
    this.#connection = connection;
  }

  // --- out ---

  get bufferedBytes(): number {
    return this.#queued + this.unwrittenBytes;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.#add(Buffer.copyBytesFrom(bytes, start, end - start));
  }

  sendShared({ bytes }: SharedBytes): void {
    this.#add(bytes);
  }

  #add(bytes: Uint8Array): void {
    if (this.#isEnded || bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#queued += bytes.length;
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#poll === undefined || this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    flushSoon(this);
  }

  /** Answers the poll that waits, at the end of the turn, with all that was sent in it. */
  flush(): boolean {
    this.#isFlushScheduled = false;
    const poll = this.#poll;
    if (poll === undefined) return true;
    if (this.#queued > 0) this.#answer(poll, 200, this.#takeAll());
    else if (this.#isClosing) this.#end();
    return true;
  }

  #takeAll(): Uint8Array {
    const chunks = this.#chunks;
    const size = this.#queued;
    this.#chunks = [];
    this.#queued = 0;
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, size);
  }

  // --- polls ---

  /** The first poll, which is answered at once: the connection is there. */
  begin(exchange: Exchange): void {
    this.#arrive(exchange);
    const headers = { ...uncached, "Content-Type": bytesType, "Content-Length": 0 };
    exchange.respond(200, headers, nothing);
  }

  /** Answers a poll when there is something to say, or when it has waited long enough. */
  poll(exchange: Exchange): Promise<void> {
    this.#arrive(exchange);
    // Only one can have the data, and who sent this one has given the other up.
    if (this.#poll !== undefined) this.#answer(this.#poll, 204);
    return new Promise((release) => {
      if (isGone(exchange)) return release();
      const poll: Poll = { exchange, release, timer: undefined };
      this.#poll = poll;
      exchange.response.once("close", () => this.#onGone(poll));
      if (this.#queued > 0 || this.#isClosing) {
        flushNow(this);
        return;
      }
      const { pollTimeout } = this.#connection.options.longPolling;
      poll.timer = setTimeout(() => this.#answer(poll, 200), pollTimeout);
      poll.timer.unref();
    });
  }

  #arrive(exchange: Exchange): void {
    if (isGone(exchange)) return;
    this.#present++;
    this.#connection.setActive(true);
    exchange.response.once("close", () => {
      this.#present--;
      if (this.#present === 0) this.#connection.setActive(false);
    });
  }

  #onGone(poll: Poll): void {
    clearTimeout(poll.timer);
    if (this.#poll === poll) this.#poll = undefined;
    poll.release();
  }

  #answer(poll: Poll, status: 200 | 204, body: Uint8Array = nothing): void {
    const { exchange } = poll;
    clearTimeout(poll.timer);
    if (this.#poll === poll) this.#poll = undefined;
    const { length } = body;
    if (length > 0) {
      this.unwrittenBytes += length;
      this.#writing.add(exchange);
      exchange.response.once("close", () => this.#onWritten(exchange, length));
    }
    if (status === 204) {
      exchange.respond(204, { ...uncached, "Content-Type": "text/plain" });
    } else {
      const type = length === 0 ? "text/plain" : bytesType;
      const headers = { ...uncached, "Content-Type": type, "Content-Length": length };
      exchange.respond(200, headers, body);
    }
    poll.release();
  }

  #onWritten(exchange: Exchange, size: number): void {
    this.#writing.delete(exchange);
    this.unwrittenBytes -= size;
    if (this.bufferedBytes === 0 && !this.#isEnded) this.#connection.drained();
  }

  // --- in: by POSTs ---

  pause(): void {}

  resume(): void {}

  // --- the end ---

  close(reason: CloseReason): void {
    this.#isClosing = true;
    if (this.#poll !== undefined) {
      // What was sent leaves first; the next poll is told of the end.
      flushNow(this);
    }
    // A server that closes gets no next poll. Else that one has what is left, or is told.
    if (reason === "shutdown" && !this.#isEnded) this.#end();
  }

  #end(): void {
    this.#isEnded = true;
    if (this.#poll !== undefined) this.#answer(this.#poll, 204);
    this.#connection.carrierEnded(this, { cause: "local" });
  }

  abort(): void {
    this.#isEnded = true;
    this.#chunks = [];
    this.#queued = 0;
    if (this.#poll !== undefined) this.#answer(this.#poll, 204);
    // What is being written may be what its client does not take.
    for (const { response } of this.#writing) response.destroy();
  }
}
