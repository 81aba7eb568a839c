import { HubProtocolError } from "../errors.js";
import type { SharedBytes } from "./transport.js";

/** A message that was sent and not acknowledged. */
export type KeptMessage = Uint8Array | SharedBytes;

/** The bytes that all connections of a hub keep. */
export interface KeptTotal {
  bytes: number;
}

/** What a kept message costs besides its bytes. */
const overhead = 64;

/**
 * One connection's side of stateful reconnect: numbers what is counted in both directions, keeps
 * what the client has not acknowledged, and knows a message that comes a second time.
 *
 * @see signalr-protocol: numbers are not on the wire, only in Ack and Sequence.
 */
export class MessageBuffer {
  readonly #total: KeptTotal;
  readonly #kept: KeptMessage[] = [];
  /** How many of `#kept`, from the front, are acknowledged; they are removed now and then. */
  #acknowledged = 0;
  /** Number of the first message that is kept, or would be. */
  #first = 1;
  #bytes = 0;
  #isStopped = false;

  #next = 1;
  #latest = 0;
  #latestAcknowledged = 0;

  constructor(total: KeptTotal) {
    this.#total = total;
  }

  // --- out ---

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#kept.length - this.#acknowledged;
  }

  /** Keeps a counted message that is sent now; after {@link stop} it only counts it. */
  keep(message: KeptMessage): void {
    if (this.#isStopped) {
      this.#first++;
      return;
    }
    this.#kept.push(message);
    this.#charge(sizeOf(message));
  }

  /**
   * The client has received everything up to `sequenceId`.
   * @returns Whether that is news.
   * @throws HubProtocolError when so much was never sent.
   */
  acknowledge(sequenceId: number): boolean {
    if (sequenceId < this.#first) return false;
    if (sequenceId >= this.#first + this.count) {
      throw new HubProtocolError("Ack of a message that was never sent.");
    }
    while (this.#first <= sequenceId) {
      const message = this.#kept[this.#acknowledged] as KeptMessage;
      this.#charge(-sizeOf(message));
      // Frees the message before its place in the array.
      this.#kept[this.#acknowledged++] = empty;
      this.#first++;
    }
    if (this.#acknowledged > 64 && this.#acknowledged * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#acknowledged);
      this.#acknowledged = 0;
    }
    return true;
  }

  /** Number of the first message that {@link unacknowledged} gives, or of the next one. */
  get firstUnacknowledged(): number {
    return this.#first;
  }

  /** What has to be sent again on a new socket. */
  unacknowledged(): readonly KeptMessage[] {
    return this.#kept.slice(this.#acknowledged);
  }

  /** Keeps nothing from now on, and forgets what it kept; counting goes on. */
  stop(): void {
    this.#first += this.count;
    this.#isStopped = true;
    this.clear();
  }

  /** Nothing of it is needed any more. */
  clear(): void {
    this.#charge(-this.#bytes);
    this.#kept.length = 0;
    this.#acknowledged = 0;
  }

  #charge(bytes: number): void {
    this.#bytes += bytes;
    this.#total.bytes += bytes;
  }

  // --- in ---

  /** A counted message came. @returns Whether it is new. */
  accept(): boolean {
    const current = this.#next++;
    if (current <= this.#latest) return false;
    this.#latest = current;
    return true;
  }

  /**
   * The client's next message has this number.
   * @throws HubProtocolError when messages in between are lost.
   */
  resetSequence(sequenceId: number): void {
    if (sequenceId > this.#next) {
      throw new HubProtocolError("Sequence ID greater than amount of messages we've received.");
    }
    this.#next = sequenceId;
  }

  /** The number to acknowledge now, if it is another than last time. */
  takeAck(): number | undefined {
    if (this.#latest === this.#latestAcknowledged) return undefined;
    this.#latestAcknowledged = this.#latest;
    return this.#latest;
  }
}

const empty = new Uint8Array(0);

function sizeOf(message: KeptMessage): number {
  return overhead + (message instanceof Uint8Array ? message.length : message.bytes.length);
}
