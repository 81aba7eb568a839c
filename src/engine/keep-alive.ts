import { Deferred, rejected } from "../deferred.js";
import { type HalyardError, InvalidStateError } from "../errors.js";
import { type Beating, startBeat, stopBeat } from "./heartbeat.js";
import type { ResolvedSocketOptions } from "./options.js";

/** What the keep-alive asks of its connection. */
export interface KeepAliveHooks {
  /**
   * `"paused"` while nothing is read, so that no PONG can be seen; `"closing"` once our Close was
   * sent, so that no PING may be sent.
   */
  phase(): "open" | "paused" | "closing";
  sendPing(payload: Uint8Array): void;
  sendPong(payload: Uint8Array): void;
  /** The peer did not answer in time. */
  onTimeout(): void;
  /** The socket was idle too long or is too old. */
  onExpiry(reason: string): void;
}

/** One that awaits a PONG. */
interface SentPing {
  readonly id: number;
  readonly sentAt: number;
  readonly roundTrip: Deferred<number>;
}

const maxSentPings = 64;
const nothing = new Uint8Array(0);

/**
 * Everything about one connection that goes by time: keep-alive PINGs and their deadline, pings of
 * the application, idle time and age.
 *
 * Input and messages only set a flag; the clock is read on the beat, a few times per interval.
 */
export class KeepAlive implements Beating {
  readonly #options: ResolvedSocketOptions;
  readonly #hooks: KeepAliveHooks;
  readonly #period: number;
  readonly #born = performance.now();
  #hadInput = false;
  #hadMessage = false;
  #lastInput = this.#born;
  #lastMessage = this.#born;
  #lastBeat = this.#born;
  #lastPong = this.#born;
  #lastId = 0;
  /** The keep-alive PING that is unanswered, and when that ends the connection. */
  #awaitedId = 0;
  #deadline = 0;
  #sent: SentPing[] | undefined;

  constructor(options: ResolvedSocketOptions, hooks: KeepAliveHooks) {
    this.#options = options;
    this.#hooks = hooks;
    const { keepAliveInterval, keepAliveTimeout, idleTimeout, maxLifetime } = options;
    const answer =
      keepAliveInterval === Number.POSITIVE_INFINITY ? keepAliveInterval : keepAliveTimeout;
    const shortest = Math.min(keepAliveInterval, answer, idleTimeout, maxLifetime);
    // A quarter keeps every deadline within 25 % of what was asked.
    this.#period = Math.max(1, Math.floor(shortest / 4));
    if (Number.isFinite(this.#period)) startBeat(this, this.#period);
  }

  /** Bytes came in, of whatever kind. */
  noteInput(): void {
    this.#hadInput = true;
  }

  /** A message came in or went out. */
  noteMessage(): void {
    this.#hadMessage = true;
  }

  /** Sends a PING for the application. @returns The round-trip time in milliseconds. */
  ping(signal: AbortSignal | undefined): Promise<number> {
    this.#sent ??= [];
    if (this.#sent.length >= maxSentPings) {
      return rejected(
        new InvalidStateError(
          "ERR_PINGS_PENDING",
          `${maxSentPings} pings are unanswered; await one before the next.`,
        ),
      );
    }
    const roundTrip = new Deferred<number>();
    const id = this.#send();
    const ping: SentPing = { id, sentAt: performance.now(), roundTrip };
    this.#sent.push(ping);
    if (signal !== undefined) {
      const onAbort = () => {
        this.#sent = this.#sent?.filter((each) => each !== ping);
        roundTrip.reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      const forget = () => signal.removeEventListener("abort", onAbort);
      roundTrip.promise.then(forget, forget);
    }
    return roundTrip.promise;
  }

  /** A PONG answers the PING with its payload and every one before: RFC 6455 §5.5.3 allows to skip. */
  onPong(payload: Buffer): void {
    if (payload.length !== 8) return;
    const id = Number(payload.readBigUInt64BE(0));
    if (id === 0 || id > this.#lastId) return;
    if (this.#awaitedId > 0 && id >= this.#awaitedId) this.#awaitedId = 0;
    const now = performance.now();
    while (this.#sent?.[0] !== undefined && this.#sent[0].id <= id) {
      const { sentAt, roundTrip } = this.#sent.shift() as SentPing;
      roundTrip.resolve(now - sentAt);
    }
  }

  onBeat(now: number): void {
    const sinceLastBeat = now - this.#lastBeat;
    this.#lastBeat = now;
    if (this.#hadInput) this.#lastInput = now;
    if (this.#hadMessage) this.#lastMessage = now;
    this.#hadInput = this.#hadMessage = false;

    const { idleTimeout, maxLifetime, keepAliveInterval } = this.#options;
    if (now - this.#lastMessage >= idleTimeout) this.#hooks.onExpiry("idle for too long");
    else if (now - this.#born >= maxLifetime) this.#hooks.onExpiry("open for too long");

    const phase = this.#hooks.phase();
    if (phase === "paused") {
      // Our own doing: the peer may have answered long ago. A PING goes out all the same, since
      // with reading stopped only a write tells that the peer is gone.
      this.#deadline += sinceLastBeat;
      if (now - this.#lastInput < keepAliveInterval) return;
      this.#lastInput = now;
      this.#send();
    } else {
      this.#checkPeer(now, phase === "open");
    }
  }

  /** Ends the beat and whatever waits for a PONG. @param failure - Made only if it is needed. */
  end(failure: () => HalyardError): void {
    stopBeat(this, this.#period);
    const sent = this.#sent;
    this.#sent = undefined;
    if (sent === undefined) return;
    for (const { roundTrip } of sent) roundTrip.reject(failure());
  }

  #checkPeer(now: number, mayPing: boolean): void {
    const { keepAliveInterval, keepAliveTimeout } = this.#options;
    const silence = now - this.#lastInput;
    if (this.#awaitedId > 0) {
      if (now >= this.#deadline) this.#hooks.onTimeout();
    } else if (!mayPing) {
      if (silence >= keepAliveInterval + keepAliveTimeout) this.#hooks.onTimeout();
    } else if (keepAliveTimeout === Number.POSITIVE_INFINITY) {
      // Nobody waits for an answer, so none is asked for: ASP.NET's other strategy.
      if (now - this.#lastPong < keepAliveInterval) return;
      this.#lastPong = now;
      this.#hooks.sendPong(nothing);
    } else if (silence >= keepAliveInterval) {
      this.#awaitedId = this.#send();
      this.#deadline = now + keepAliveTimeout;
    }
  }

  /** Sends the next PING; its payload is a counter, so that no PONG can be taken for another. */
  #send(): number {
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64BE(BigInt(++this.#lastId));
    this.#hooks.sendPing(payload);
    return this.#lastId;
  }
}
