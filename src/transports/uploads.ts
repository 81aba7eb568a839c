import type { IncomingMessage } from "node:http";
import { Gathering } from "../engine/gathering.js";
import { log } from "../logger.js";
import type { Exchange } from "./exchange.js";
import type { HttpConnection } from "./http-connection.js";

/** POSTs of one connection that may wait for their turn; clients have one at a time. */
const maxWaiting = 16;

/** How a POST is to be answered. */
export type UploadResult = 200 | 400 | 404 | 408 | 429 | "unreadable";

/**
 * The way in for transports whose way out is a response: the bodies of POSTs, one after the other in
 * the order of their arrival.
 *
 * While the application is paused, or not there yet, bytes up to `applicationMaxBufferSize` are kept for it, so that a
 * POST is answered though they are not read yet; beyond that the POST is held up, and with it TCP.
 */
export class Uploads {
  readonly #connection: HttpConnection;
  /** The end of the line: resolves when the last POST is done. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #kept: Gathering | undefined;
  #current: BodyReader | undefined;
  #isEnded = false;

  constructor(connection: HttpConnection) {
    this.#connection = connection;
  }

  /** Takes a POST's body in, and says how to answer when that is done. */
  take(exchange: Exchange): Promise<UploadResult> {
    if (this.#isEnded) return Promise.resolve(404);
    if (this.#waiting >= maxWaiting) return Promise.resolve(429);
    this.#waiting++;
    const taken = this.#last.then(() => this.#read(exchange));
    const done = () => {
      this.#waiting--;
      this.#current = undefined;
    };
    this.#last = taken.then(done, done);
    return taken;
  }

  /** The application wants to go on. */
  resume(): void {
    const kept = this.#kept;
    if (kept !== undefined) {
      this.#kept = undefined;
      const bytes = kept.takeBytes();
      this.#connection.received(bytes, 0, bytes.length);
    }
    if (this.#hasRoom && !this.#isEnded) this.#current?.goOn();
  }

  /** The connection is being closed: what still comes is taken and forgotten. */
  discard(): void {
    this.#kept = undefined;
    this.#current?.goOn();
  }

  /** The connection is no more. */
  end(): void {
    this.#isEnded = true;
    this.#kept = undefined;
    this.#current?.end();
  }

  onBeat(now: number): void {
    const { uploadTimeout } = this.#connection.options;
    const current = this.#current;
    if (current?.readingSince === undefined || now - current.readingSince < uploadTimeout) return;
    log(this.#connection.options.logger, "warn", "a POST was given up; see uploadTimeout", {
      connectionId: this.#connection.id,
      uploadTimeout,
    });
    current.stop(408);
  }

  get #hasRoom(): boolean {
    if (this.#connection.state === "closing") return true;
    return (this.#kept?.size ?? 0) < this.#connection.options.applicationMaxBufferSize;
  }

  async #read(exchange: Exchange): Promise<UploadResult> {
    if (this.#isEnded) return 404;
    const { request } = exchange;
    if (request.destroyed && !request.readableEnded) return 400;
    if (wasRead(request)) return this.#takeParsed(exchange);
    const reader = new BodyReader(request, (chunk) => this.#onChunk(chunk));
    this.#current = reader;
    if (!this.#hasRoom) reader.hold();
    return reader.result;
  }

  /** @returns Whether more may come. */
  #onChunk(chunk: Buffer): boolean {
    const { isPaused, state } = this.#connection;
    if (state === "closing") return true;
    if (isPaused || state === "negotiated" || this.#kept !== undefined) {
      this.#kept ??= new Gathering("binary");
      // Copied, since a slice of a byte would keep the whole of a read in memory.
      this.#kept.add(chunk, 0, chunk.length, 0);
      return this.#hasRoom;
    }
    this.#connection.received(chunk, 0, chunk.length);
    return true;
  }

  /** Takes what a body parser in front has left of the body. */
  async #takeParsed(exchange: Exchange): Promise<UploadResult> {
    const parsed = await exchange.body();
    if (this.#isEnded) return 404;
    const bytes = asBytes(parsed);
    if (bytes === undefined) {
      log(
        this.#connection.options.logger,
        "error",
        "a body parser in front has read a POST and left neither text nor bytes; let it leave this path alone",
        { path: exchange.path },
      );
      return "unreadable";
    }
    this.#onChunk(bytes);
    return 200;
  }
}

/** Whether a stream's bytes have gone elsewhere already. */
function wasRead(request: IncomingMessage): boolean {
  return request.readableDidRead || request.readableEnded;
}

function asBytes(body: unknown): Buffer | undefined {
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (body instanceof ArrayBuffer) return Buffer.from(body);
  if (!ArrayBuffer.isView(body)) return undefined;
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** Reads one body, by pieces, as fast as they are wanted. */
class BodyReader {
  readonly result: Promise<UploadResult>;
  /** Since when we wait for the client; `undefined` while it waits for us. */
  readingSince: number | undefined = performance.now();
  readonly #request: IncomingMessage;
  readonly #onChunk: (chunk: Buffer) => boolean;
  #settle!: (result: UploadResult) => void;
  #taken = 0;
  #isHeld = false;
  #isDone = false;

  /** @param onChunk - Says whether it wants more at once; if not, {@link goOn} follows. */
  constructor(request: IncomingMessage, onChunk: (chunk: Buffer) => boolean) {
    this.#request = request;
    this.#onChunk = onChunk;
    this.result = new Promise((resolve) => {
      this.#settle = resolve;
    });
    request.on("data", this.#onData);
    request.on("end", this.#onEnd);
    request.on("error", this.#onLost);
    request.on("close", this.#onLost);
  }

  hold(): void {
    this.#isHeld = true;
    this.readingSince = undefined;
    this.#request.pause();
  }

  goOn(): void {
    if (!this.#isHeld || this.#isDone) return;
    this.#isHeld = false;
    this.readingSince = performance.now();
    this.#request.resume();
  }

  stop(result: UploadResult): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.readingSince = undefined;
    const request = this.#request;
    request.off("data", this.#onData);
    request.off("end", this.#onEnd);
    request.off("close", this.#onLost);
    // What is left of the body is passed over, or cut off by whoever answers.
    request.resume();
    this.#settle(result);
  }

  /** Nobody wants more: whether there is more decides on the answer. */
  end(): void {
    const { complete, readableLength, headers } = this.#request;
    const isWhole =
      (complete && readableLength === 0) || String(this.#taken) === headers["content-length"];
    this.stop(isWhole ? 200 : 404);
  }

  readonly #onData = (chunk: Buffer) => {
    this.#taken += chunk.length;
    if (!this.#onChunk(chunk) && !this.#isDone) this.hold();
  };
  readonly #onEnd = () => this.stop(200);
  readonly #onLost = () => this.stop(400);
}
