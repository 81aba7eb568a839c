import { ConnectionClosedError, HubError, HubProtocolError, InvalidStateError } from "../errors.js";

/**
 * A sentence for a client and, where the client may know it, what happened: ASP.NET Core's own form,
 * which clients show to people and applications compare.
 *
 * @param isDetailed - The option `enableDetailedErrors`; a HubError is told in any case.
 */
export function errorText(base: string, error: unknown, isDetailed: boolean): string {
  if (!isDetailed && !(error instanceof HubError)) return base;
  try {
    return error instanceof Error
      ? `${base} ${nameOf(error)}: ${error.message}`
      : `${base} Error: ${String(error)}`;
  } catch {
    // Not everything that can be thrown can be told.
    return base;
  }
}

/** What ASP.NET Core calls an error of ours that it has too. */
function nameOf(error: Error): string {
  if (error instanceof HubError) return "HubException";
  if (error instanceof HubProtocolError) return "InvalidDataException";
  if (error instanceof InvalidStateError) return "InvalidOperationException";
  if (error instanceof ConnectionClosedError) {
    return error.code === "ERR_CLIENT_TIMEOUT" ? "OperationCanceledException" : "IOException";
  }
  return error.name;
}

/** An error that ASP.NET Core would call InvalidDataException. */
export class InvalidDataException extends Error {
  override readonly name = "InvalidDataException";
}
