import { HubError } from "../errors.js";

/**
 * A sentence for a client and, where the client may know it, what happened: ASP.NET Core's own form,
 * which clients show to people and applications compare.
 *
 * @param isDetailed - The option `enableDetailedErrors`; a HubError is told in any case.
 */
export function errorText(base: string, error: unknown, isDetailed: boolean): string {
  if (error instanceof HubError) return `${base} HubException: ${error.message}`;
  if (!isDetailed) return base;
  return error instanceof Error
    ? `${base} ${error.name}: ${error.message}`
    : `${base} Error: ${String(error)}`;
}

/** An error that ASP.NET Core would call InvalidDataException. */
export class InvalidDataException extends Error {
  override readonly name = "InvalidDataException";
}
