import type { Duplex } from "node:stream";
import { getSystemErrorName } from "node:util";
import { Deferred } from "../deferred.js";
import { type HalyardError, SendBufferFullError } from "../errors.js";
import type { MemoryBudget } from "./memory-budget.js";
import {
  isHandleOf,
  type WriteHandle,
  type WriteOwner,
  writeHandleOf,
  writeTo,
} from "./socket-writer.js";

/** What a waiting `send` costs besides its bytes. */
const waiterOverhead = 256;

/** What the queue tells its owner. */
export interface SendQueueOwner {
  /** The socket holds no bytes any more. */
  onDrained(): void;
}

interface Waiter {
  /** The count of written bytes that ends the wait. */
  readonly target: number;
  readonly done: Deferred<void>;
}

const nothingToWaitFor = Promise.resolve();

/** Writes chunks to the socket and tells senders when they may go on: the back-pressure out. */
export class SendQueue implements WriteOwner {
  readonly #socket: Duplex;
  readonly #window: number;
  readonly #limit: number;
  readonly #owner: SendQueueOwner;
  /** Whether written bytes are in the kernel once the stream holds none; see {@link write}. */
  readonly #isTcp: boolean;
  /** Present once the socket is written to without its stream. */
  #handle: WriteHandle | undefined;
  /** For writes through the stream; made with the first. */
  #onWritten: ((error?: Error | null) => void) | undefined;
  #waiters: Waiter[] = [];
  /** Bytes given to the socket since the beginning. */
  #given = 0;
  /** Bytes that the kernel has not taken yet, as of the last write or the end of one. */
  held = 0;

  /**
   * @param window - Bytes waiting above which senders wait.
   * @param limit - Bytes waiting above which senders are refused.
   */
  constructor(socket: Duplex, window: number, limit: number, owner: SendQueueOwner) {
    this.#socket = socket;
    this.#window = window;
    this.#limit = limit;
    this.#owner = owner;
    this.#isTcp = "remoteAddress" in socket && !("encrypted" in socket);
  }

  /** Whether the peer, or the network, does not keep up. */
  get isCongested(): boolean {
    return this.held > 0;
  }

  /** Whether too much waits already, here or in all. @param pending - Bytes not given to `write` yet. */
  isFull(pending: number, budget: MemoryBudget): boolean {
    if (this.#waiting(pending) > this.#limit) return true;
    return this.held > 0 && budget.used > budget.limit;
  }

  /** An error for who would send more now, if it {@link isFull}. */
  refusal(pending: number, budget: MemoryBudget): SendBufferFullError | undefined {
    if (!this.isFull(pending, budget)) return undefined;
    const waiting = this.#waiting(pending);
    if (waiting > this.#limit) return new SendBufferFullError(waiting, this.#limit);
    return new SendBufferFullError(budget.used, budget.limit);
  }

  #waiting(pending: number): number {
    return this.held + pending + this.#waiters.length * waiterOverhead;
  }

  /**
   * Gives output to the socket, several chunks together in one write where it can.
   *
   * What is given to a socket that is destroyed is dropped.
   * @returns Whether nobody needs the memory any more: the kernel has all of it.
   */
  write(output: Uint8Array | Uint8Array[]): boolean {
    const handle = this.#handle ?? this.#leaveStream();
    if (handle === undefined) {
      if (this.#socket.destroyed) return true;
      this.#writeToStream(output);
    } else {
      // To ask the stream whether it is destroyed would cost a look at two more objects.
      if (!isHandleOf(this.#socket, handle)) return true;
      this.#writeToHandle(handle, output);
    }
    return this.#isTcp && this.held === 0;
  }

  /** Once nothing waits in the stream, and its handle is known, the stream is done without. */
  #leaveStream(): WriteHandle | undefined {
    if (!this.#isTcp || this.#socket.writableLength > 0) return undefined;
    this.#handle = writeHandleOf(this.#socket);
    return this.#handle;
  }

  #writeToHandle(handle: WriteHandle, output: Uint8Array | Uint8Array[]): void {
    if (output instanceof Uint8Array) this.#given += output.length;
    else for (const chunk of output) this.#given += chunk.length;
    const status = writeTo(handle, output, this);
    this.held = handle.writeQueueSize;
    if (status !== 0) this.onWriteComplete(status);
    // Unlike the stream, the handle does not call back for what it could write at once.
    else if (this.#waiters.length > 0) this.#settleWaiters();
  }

  #writeToStream(output: Uint8Array | Uint8Array[]): void {
    const socket = this.#socket;
    this.#onWritten ??= (error) => {
      if (!error) this.#onProgress(socket.writableLength);
    };
    if (output instanceof Uint8Array) {
      this.#given += output.length;
      socket.write(output, this.#onWritten);
    } else {
      socket.cork();
      for (const chunk of output) {
        this.#given += chunk.length;
        socket.write(chunk, this.#onWritten);
      }
      socket.uncork();
    }
    this.held = socket.writableLength;
  }

  onWriteComplete(status: number): void {
    if (status >= 0) {
      this.#onProgress((this.#handle as WriteHandle).writeQueueSize);
    } else if (!this.#socket.destroyed) {
      // As node:net does it; the socket's `error` event tells its owner.
      const code = getSystemErrorName(status);
      const error = Object.assign(new Error(`write ${code}`), {
        code,
        errno: status,
        syscall: "write",
      });
      this.#socket.destroy(error);
    }
  }

  /**
   * Waits until a sender may go on.
   *
   * @param pending - Bytes collected but not given to `write` yet, the sender's among them.
   * @param untilWritten - Whether the kernel must have all of them, because the sender's own
   *   memory is among them; otherwise until they fit into the window.
   */
  whenReady(
    pending: number,
    untilWritten: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const slack = untilWritten ? 0 : this.#window;
    if (this.held + pending <= slack) return nothingToWaitFor;
    const waiter: Waiter = { target: this.#given + pending - slack, done: new Deferred<void>() };
    this.#waiters.push(waiter);
    return signal === undefined ? waiter.done.promise : this.#unlessAborted(waiter, signal);
  }

  /** Fails everybody who waits. @param failure - Made only if it is needed. */
  end(failure: () => HalyardError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { done } of waiters) done.reject(failure());
  }

  #unlessAborted(waiter: Waiter, signal: AbortSignal): Promise<void> {
    const onAbort = () => {
      this.#waiters = this.#waiters.filter((each) => each !== waiter);
      waiter.done.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = () => signal.removeEventListener("abort", onAbort);
    waiter.done.promise.then(forget, forget);
    return waiter.done.promise;
  }

  #onProgress(held: number): void {
    this.held = held;
    this.#settleWaiters();
    if (held === 0) this.#owner.onDrained();
  }

  #settleWaiters(): void {
    const written = this.#given - this.held;
    let ready = 0;
    for (; ready < this.#waiters.length; ready++) {
      const waiter = this.#waiters[ready] as Waiter;
      if (waiter.target > written) break;
      waiter.done.resolve();
    }
    if (ready > 0) this.#waiters.splice(0, ready);
  }
}
