import { quiet } from "../deferred.js";
import type { HubCallerContext } from "./context.js";
import type { Hub } from "./hub.js";

/** A call of a hub method, as filters see it. */
export interface HubInvocation {
  readonly context: HubCallerContext;
  /** The object the method is called on. */
  readonly hub: Hub<object>;
  /** The method's name as declared. */
  readonly method: string;
  /** What it is called with, upload streams included. A filter may replace or change it. */
  arguments: unknown[];
}

/** A client that connects or is gone, as filters see it. */
export interface HubLifetime {
  readonly context: HubCallerContext;
  readonly hub: Hub<object>;
}

/**
 * Runs around calls, connecting and disconnecting. What a filter returns is the result, what it
 * throws the error; one that does not call `next` answers by itself.
 */
export interface HubFilter {
  /** Not for calls that were refused before: unknown methods, bad arguments, no permission. */
  invokeMethod?(
    invocation: HubInvocation,
    next: (invocation: HubInvocation) => Promise<unknown>,
  ): unknown;
  onConnected?(lifetime: HubLifetime, next: () => Promise<void>): unknown;
  onDisconnected?(
    lifetime: HubLifetime,
    error: Error | undefined,
    next: (error: Error | undefined) => Promise<void>,
  ): unknown;
}

/** What a filter calls. One that does not wait for it must not end the process by its failure. */
function passOn<A extends unknown[]>(
  next: (...args: A) => unknown,
): (...args: A) => Promise<never> {
  const call = async (...args: A) => next(...args) as never;
  return (...args) => quiet(call(...args));
}

/** The call with all filters around it, the first outermost; without filters the call itself. */
export function aroundInvocation(
  filters: readonly HubFilter[],
  call: (invocation: HubInvocation) => unknown,
): (invocation: HubInvocation) => unknown {
  return filters.reduceRight<(invocation: HubInvocation) => unknown>(
    (next, filter) =>
      filter.invokeMethod === undefined
        ? next
        : (invocation) => filter.invokeMethod?.(invocation, passOn(next)),
    call,
  );
}

/** `onConnected` with all filters around it. */
export function aroundConnected(
  filters: readonly HubFilter[],
  lifetime: HubLifetime,
): () => unknown {
  return filters.reduceRight<() => unknown>(
    (next, filter) =>
      filter.onConnected === undefined ? next : () => filter.onConnected?.(lifetime, passOn(next)),
    () => lifetime.hub.onConnected(),
  );
}

/** `onDisconnected` with all filters around it. */
export function aroundDisconnected(
  filters: readonly HubFilter[],
  lifetime: HubLifetime,
): (error: Error | undefined) => unknown {
  return filters.reduceRight<(error: Error | undefined) => unknown>(
    (next, filter) =>
      filter.onDisconnected === undefined
        ? next
        : (error) => filter.onDisconnected?.(lifetime, error, passOn(next)),
    (error) => lifetime.hub.onDisconnected(error),
  );
}
