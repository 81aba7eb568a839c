import type { KeptMessage } from "./message-buffer.js";

/** A message that waits for a slow client. */
export interface WaitingMessage {
  readonly message: KeptMessage;
  /** Whether stateful reconnect counts it, when it is sent at last. */
  readonly counted: boolean;
  /** Whether nobody waits for it, so that the policy `dropOldest` may drop it. */
  readonly isDroppable: boolean;
}

/** What a waiting message costs besides its bytes. */
const overhead = 64;

/** Messages for a client that does not keep up, in order and bounded. */
export class SendBacklog {
  readonly #limit: number;
  #messages: WaitingMessage[] = [];
  /** How many of `#messages`, from the front, are gone already. */
  #taken = 0;
  bytes = 0;

  /** @param limit - Bytes that may wait, those in the transport included. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get count(): number {
    return this.#messages.length - this.#taken;
  }

  /** @param elsewhere - Bytes that the transport holds. */
  isOver(elsewhere: number): boolean {
    return this.bytes + elsewhere > this.#limit;
  }

  add(waiting: WaitingMessage): void {
    this.#messages.push(waiting);
    this.bytes += sizeOf(waiting);
  }

  /** Takes the oldest; there must be one. */
  take(): WaitingMessage {
    const waiting = this.#messages[this.#taken++] as WaitingMessage;
    this.bytes -= sizeOf(waiting);
    if (this.#taken > 64 && this.#taken * 2 > this.#messages.length) {
      this.#messages.splice(0, this.#taken);
      this.#taken = 0;
    }
    return waiting;
  }

  /** Drops the oldest messages that may be dropped until the rest fits. @returns How many. */
  dropOldest(elsewhere: number): number {
    let dropped = 0;
    this.#messages = this.#messages.slice(this.#taken).filter((waiting) => {
      if (!waiting.isDroppable || !this.isOver(elsewhere)) return true;
      this.bytes -= sizeOf(waiting);
      dropped++;
      return false;
    });
    this.#taken = 0;
    return dropped;
  }

  clear(): void {
    this.#messages = [];
    this.#taken = 0;
    this.bytes = 0;
  }
}

function sizeOf({ message }: WaitingMessage): number {
  return overhead + (message instanceof Uint8Array ? message.length : message.bytes.length);
}
