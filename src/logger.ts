/**
 * Where Halyard writes its log lines. `console` fits; so does any logger whose methods take a
 * sentence and an object. No line carries payload, header values other than the origin, or tokens.
 */
export interface Logger {
  debug(message: string, details?: object): void;
  info(message: string, details?: object): void;
  warn(message: string, details?: object): void;
  error(message: string, details?: object): void;
}

/** Warnings and errors go to the console, the rest nowhere. */
export const defaultLogger: Logger = {
  debug() {},
  info() {},
  warn: (message, details) => console.warn(message, details),
  error: (message, details) => console.error(message, details),
};

/** Calls a method of an application's logger; what that throws must not disturb a connection. */
export function log(logger: Logger, level: keyof Logger, message: string, details?: object): void {
  try {
    logger[level](`halyard: ${message}`, details);
  } catch {
    // There is nowhere left to report a failing logger to.
  }
}
