/**
 * Logger: structured events, one line each.
 * Promises: never throws. Does not promise: that a line is kept.
 * Callers never pass tokens, keys or payloads; fields are names, counts and causes.
 */
export interface Logger {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void;
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}
