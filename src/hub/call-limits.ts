import type { HubMethod } from "./methods.js";
import type { HubRateLimits } from "./options.js";
import { type RateLimit, TokenBucket } from "./token-bucket.js";

/** How often one connection has called, and may call. */
export class CallLimits {
  #connection: TokenBucket | undefined;
  #methods: Map<string, TokenBucket> | undefined;

  /**
   * Whether a call may be made now.
   * @param user - The bucket of all connections of this user.
   * @param method - `undefined` when there is none of the name.
   */
  take(
    limits: HubRateLimits | undefined,
    user: TokenBucket | undefined,
    method: HubMethod | undefined,
    limit: RateLimit | undefined,
  ): boolean {
    if (limits?.connection !== undefined) {
      this.#connection ??= new TokenBucket(limits.connection);
      if (!this.#connection.take()) return false;
    }
    if (user !== undefined && !user.take()) return false;
    if (method === undefined || limit === undefined) return true;
    this.#methods ??= new Map();
    let bucket = this.#methods.get(method.name);
    if (bucket === undefined) {
      bucket = new TokenBucket(limit);
      this.#methods.set(method.name, bucket);
    }
    return bucket.take();
  }
}
