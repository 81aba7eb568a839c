/** How often something may happen: `burst` times at once, and `perSecond` times in the long run. */
export interface RateLimit {
  /** Calls per second that are allowed for ever. */
  readonly perSecond: number;
  /** Calls that may come at once after a quiet time. Default: `perSecond`, at least 1. */
  readonly burst?: number;
}

/** A token bucket: one number and the time it was true. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  constructor({ perSecond, burst }: RateLimit, now = performance.now()) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst ?? Math.max(1, perSecond);
    this.#tokens = this.#burst;
    this.#at = now;
  }

  /** Whether the bucket is as good as a new one. */
  isFull(now = performance.now()): boolean {
    return this.#tokens + (now - this.#at) * this.#perMs >= this.#burst;
  }

  /** Takes a token. @returns Whether there was one. */
  take(now = performance.now()): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
