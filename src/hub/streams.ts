import { HubError } from "../errors.js";

/** What an upload stream tells its connection. */
export interface UploadOwner {
  /** There is room for an item again. */
  onRoom(): void;
}

interface Waiting {
  resolve(result: IteratorResult<unknown> | Promise<IteratorResult<unknown>>): void;
  reject(error: Error): void;
}

/**
 * A stream of items from the client, as a hub method gets it: iterate over it once.
 *
 * Holds `capacity` items; while it is full nothing more is read from its connection.
 */
export class UploadStream implements AsyncIterableIterator<unknown> {
  /** The client's name for it. */
  readonly id: string;
  readonly #capacity: number;
  readonly #owner: UploadOwner;
  #items: unknown[] = [];
  #isEnded = false;
  #error: Error | undefined;
  #waiting: Waiting[] = [];

  constructor(id: string, capacity: number, owner: UploadOwner) {
    this.id = id;
    this.#capacity = capacity;
    this.#owner = owner;
  }

  get isFull(): boolean {
    return this.#items.length >= this.#capacity;
  }

  /** Adds an item, or a promise of one; ignored after the end. */
  push(item: unknown): void {
    if (this.#isEnded) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting.resolve(this.#step(item));
    else this.#items.push(item);
  }

  /** What the method gets of an item. One whose promise is rejected ends the stream. */
  #step(item: unknown): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    if (!(item instanceof Promise)) return { done: false, value: item };
    return item.then(
      (value) => ({ done: false, value }),
      (error) => {
        this.close();
        throw error;
      },
    );
  }

  /** Ends the stream behind the items it holds; with an error the method gets that there. */
  end(error?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
  }

  /** The method is done with it: what it holds and what still comes is dropped. */
  close(): void {
    const wasFull = this.isFull;
    this.#items = [];
    this.end();
    this.#error = undefined;
    if (wasFull) this.#owner.onRoom();
  }

  next(): Promise<IteratorResult<unknown>> {
    if (this.#items.length > 0) {
      const wasFull = this.isFull;
      const value = this.#items.shift();
      if (wasFull) this.#owner.onRoom();
      return Promise.resolve(this.#step(value));
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<unknown>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Why an upload that the client ended with an error fails. */
export function uploadError(text: string): HubError {
  return new HubError(text, { code: "ERR_CLIENT_STREAM" });
}

/**
 * The iterator of what a streaming method returned: an async iterable (generators, web streams, Node
 * streams) or a generator.
 *
 * @returns `undefined` if it is no stream. Strings and arrays are values, not streams.
 */
export function iteratorOf(value: unknown): AsyncIterator<unknown> | Iterator<unknown> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (value instanceof ReadableStream) return webStreamIterator(value);
  if (isNodeStream(value)) return nodeStreamIterator(value);
  if (Symbol.asyncIterator in value) {
    return (value as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  }
  const isGenerator = Object.prototype.toString.call(value) === "[object Generator]";
  return isGenerator ? (value as Iterator<unknown>) : undefined;
}

/** Its own iterator would keep `return()` waiting for the next chunk, which may never come. */
function webStreamIterator(stream: ReadableStream<unknown>): AsyncIterator<unknown> {
  const reader = stream.getReader();
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    async return() {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}

interface NodeStream extends AsyncIterable<unknown> {
  on(event: "error", listener: () => void): unknown;
  destroy(): unknown;
}

function isNodeStream(value: object): value is NodeStream {
  const { on, destroy } = value as Partial<NodeStream>;
  return Symbol.asyncIterator in value && typeof on === "function" && typeof destroy === "function";
}

/** As with web streams. */
function nodeStreamIterator(stream: NodeStream): AsyncIterator<unknown> {
  const iterator = stream[Symbol.asyncIterator]();
  return {
    next: () => iterator.next(),
    async return() {
      // What goes wrong from now on, such as a file that is not there, has nobody to tell.
      stream.on("error", () => {});
      stream.destroy();
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** Whether {@link iteratorOf} would find one. Calls nothing of the value. */
export function isStream(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return (
    Symbol.asyncIterator in value || Object.prototype.toString.call(value) === "[object Generator]"
  );
}
